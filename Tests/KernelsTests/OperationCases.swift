import Kernels
import Oracles

extension OperationCase {
  /// All pairs, one row for each. A new operation is checked once it stands here.
  static let all: [OperationCase] =
    [
      OperationCase(
        name: "SiLU", inputs: { [[$0.rows, $0.columns]] }, bound: 8,
        forward: { b in for rows in b.rowParts { siluForward(b.x[0], into: b.y, rows: rows) } },
        backward: { b in for rows in b.rowParts { siluBackward(b.x[0], dy: b.dy, dx: b.dx[0], rows: rows) } },
        twin: { x, _ in Twin.silu(x[0]) }),
      OperationCase(
        name: "GELU", inputs: { [[$0.rows, $0.columns]] }, bound: 6, accumulates: false,
        forward: { b in for rows in b.rowParts { geluForward(b.x[0], into: b.y, rows: rows) } },
        backward: { b in
          // It works in place.
          let u = StridedMemory(rows: b.sizes.rows, columns: b.sizes.columns)
          defer { withExtendedLifetime(u) {} }
          for r in 0..<b.sizes.rows {
            u.matrix.row(r).update(from: b.x[0].row(r), count: b.sizes.columns)
            b.dx[0].matrix.row(r).update(from: b.dy.row(r), count: b.sizes.columns)
          }
          for rows in b.rowParts { geluBackward(u.matrix, gradient: b.dx[0].matrix, rows: rows) }
          for r in 0..<b.sizes.rows { b.y.row(r).update(from: u.matrix.row(r), count: b.sizes.columns) }
        },
        twin: { x, _ in Twin.gelu(x[0]) }),
      OperationCase(
        name: "modulated layer norm",
        inputs: { [[$0.rows, $0.columns], [$0.samples, $0.columns], [$0.samples, $0.columns]] },
        notes: { [$0.rows, 2] },
        forward: { b in
          for rows in b.rowParts {
            modulatedLayerNormForward(
              b.x[0], shift: b.x[1], scale: b.x[2], into: b.y, statistics: b.notes, length: b.sizes.length, rows: rows)
          }
        },
        backward: { b in
          for samples in b.sampleParts {
            modulatedLayerNormBackward(
              b.x[0], scale: b.x[2], statistics: b.notes, dy: b.dy, dx: b.dx[0], dShift: b.dx[1], dScale: b.dx[2],
              length: b.sizes.length, samples: samples)
          }
        },
        twin: { x, s in Twin.modulatedLayerNorm(x[0], shift: x[1], scale: x[2], length: s.length) }),
      OperationCase(
        name: "gated sum",
        inputs: { [[$0.rows, $0.columns], [$0.samples, $0.columns], [$0.rows, $0.columns]] },
        forward: { b in
          for rows in b.rowParts {
            gatedSumForward(b.x[0], gate: b.x[1], b.x[2], into: b.y, length: b.sizes.length, rows: rows)
          }
        },
        backward: { b in
          for rows in b.rowParts { sumBackward(dy: b.dy, dx: b.dx[0], rows: rows) }
          for samples in b.sampleParts {
            gatedSumBackward(
              gate: b.x[1], b.x[2], dy: b.dy, dh: b.dx[2], dGate: b.dx[1], length: b.sizes.length, samples: samples)
          }
        },
        twin: { x, s in Twin.gatedSum(x[0], gate: x[1], x[2], length: s.length) }),
      OperationCase(
        name: "sum", inputs: { [[$0.rows, $0.columns], [$0.rows, $0.columns]] },
        forward: { b in for rows in b.rowParts { sumForward(b.x[0], b.x[1], into: b.y, rows: rows) } },
        backward: { b in
          for rows in b.rowParts { for dx in b.dx { sumBackward(dy: b.dy, dx: dx, rows: rows) } }
        },
        twin: { x, _ in x[0] + x[1] }),
      OperationCase(
        name: "table sum", inputs: { [[$0.rows, $0.columns], [$0.length, $0.columns]] }, fixed: [1],
        forward: { b in
          for rows in b.rowParts {
            tableSumForward(b.x[0], table: b.x[1], into: b.y, length: b.sizes.length, rows: rows)
          }
        },
        backward: { b in for rows in b.rowParts { sumBackward(dy: b.dy, dx: b.dx[0], rows: rows) } },
        twin: { x, s in Twin.tableSum(x[0], table: x[1], length: s.length) }),
      OperationCase(
        name: "time-step embedding", inputs: { [[1, $0.rows]] }, fixed: [0], output: { [$0.rows, $0.columns] },
        // The frequencies are rounded to floats.
        bound: 999, tolerance: 999 * 0x1p-24,
        forward: { b in for rows in b.rowParts { timestepEmbedding(b.x[0].base, into: b.y, rows: rows) } },
        backward: { _ in },
        twin: { x, s in Twin.timestepEmbedding(x[0].values, columns: s.columns) }),
      OperationCase(
        name: "time-step embedding of diffusers", inputs: { [[1, $0.rows]] }, fixed: [0],
        output: { [$0.rows, $0.columns] }, sizes: [15, 17, 48].map { Sizes(columns: $0) }, bound: 999,
        tolerance: 999 * 0x1p-24,
        forward: { b in
          for rows in b.rowParts { timestepEmbedding(b.x[0].base, into: b.y, frequencyShift: 1, rows: rows) }
        },
        backward: { _ in },
        twin: { x, s in Twin.timestepEmbedding(x[0].values, columns: s.columns, frequencyShift: 1) }),
      OperationCase(
        name: "lookup", inputs: { [[4, $0.columns]] }, output: { [$0.rows, $0.columns] },
        forward: { b in
          labels(b.sizes.rows).map { Int32($0) }.withUnsafeBufferPointer { labels in
            for rows in b.rowParts { lookupForward(labels.baseAddress!, table: b.x[0], into: b.y, rows: rows) }
          }
        },
        backward: { b in
          labels(b.sizes.rows).map { Int32($0) }.withUnsafeBufferPointer {
            lookupBackward($0.baseAddress!, dy: b.dy, dTable: b.dx[0], entries: 4, rows: 0..<b.sizes.rows)
          }
        },
        twin: { x, s in Twin.lookup(labels(s.rows), table: x[0]) }),
      .linear(outputs: 17),
      .linear(outputs: 1, Sizes(samples: 1, length: 1, columns: 3)),
      .linear(outputs: 48, Sizes(samples: 2, length: 20, columns: 16)),
      .linear(outputs: 100, Sizes(samples: 1, length: 3, columns: 15)),
      .mlp(hidden: 3, Sizes(columns: 1)),
      .mlp(hidden: 100, Sizes(columns: 17)),
      .mlp(hidden: 16, Sizes(columns: 48)),
      // Rows are worked on in blocks.
      .mlp(hidden: 5, Sizes(samples: 1, length: 520, columns: 3)),
      .attention(heads: 2, Sizes(samples: 2, length: 7, columns: 6), keys: 7),
      .attention(heads: 3, Sizes(samples: 1, length: 1, columns: 3), keys: 1),
      .attention(heads: 2, Sizes(samples: 2, length: 5, columns: 32), keys: 17),
      .attention(heads: 1, Sizes(samples: 2, length: 18, columns: 17), keys: 16),
      .attention(heads: 2, Sizes(samples: 1, length: 3, columns: 200), keys: 2),
      // Queries are worked on in blocks.
      .attention(heads: 1, Sizes(samples: 2, length: 256, columns: 1), keys: 3),
      .attention(heads: 2, Sizes(samples: 1, length: 259, columns: 6), keys: 15),
      .attention(heads: 1, Sizes(samples: 1, length: 530, columns: 3), keys: 2),
    ]
    + masking
    + [(1, 3, 3), (3, 4, 2), (4, 6, 3), (17, 2, 1), (2, 10, 5)].flatMap { channels, size, patch in
      [PatchOrder.channelsFirst, .channelsLast].flatMap {
        patches(PatchGrid(channels: channels, size: size, patch: patch), $0)
      }
    }

  /// Labels of which some occur often and one, 3, never.
  private static func labels(_ count: Int) -> [Int] { (0..<count).map { $0 * $0 % 3 } }

  private static func linear(outputs: Int, _ sizes: Sizes...) -> OperationCase {
    OperationCase(
      name: "linear with \(outputs) outputs",
      inputs: { [[$0.rows, $0.columns], [outputs, $0.columns], [1, outputs]] },
      output: { [$0.rows, outputs] }, sizes: sizes.isEmpty ? Sizes.all : sizes,
      forward: { b in
        for rows in b.rowParts {
          for part in Buffers.parts(outputs) {
            let layer = LinearParameters(weight: b.x[1], bias: b.x[2].base)
            linearForward(b.x[0], layer, into: b.y, rows: rows, outputs: part)
          }
        }
      },
      backward: { b in
        for rows in b.rowParts {
          for part in Buffers.parts(b.sizes.columns) {
            let layer = LinearParameters(weight: b.x[1], bias: nil)
            linearInputBackward(dy: b.dy, layer, dx: b.dx[0], rows: rows, inputs: part)
          }
        }
        for part in Buffers.parts(outputs) {
          for inputs in Buffers.parts(b.sizes.columns) {
            linearWeightBackward(b.x[0], dy: b.dy, dWeight: b.dx[1], rows: b.sizes.rows, outputs: part, inputs: inputs)
          }
          linearBiasBackward(dy: b.dy, dBias: b.dx[2], rows: b.sizes.rows, outputs: part)
        }
      },
      twin: { x, _ in Twin.linear(x[0], weight: x[1], bias: x[2]) })
  }

  private static func mlp(hidden: Int, _ sizes: Sizes) -> OperationCase {
    @Sendable func layers(_ b: Buffers) -> (first: LinearParameters, second: LinearParameters) {
      (LinearParameters(weight: b.x[1], bias: b.x[2].base), LinearParameters(weight: b.x[3], bias: b.x[4].base))
    }
    @Sendable func scratch(_ b: Buffers) -> Int { mlpScratch(hidden: hidden, outputs: b.sizes.columns) }
    return OperationCase(
      name: "MLP with \(hidden) hidden columns",
      inputs: {
        [[$0.rows, $0.columns], [hidden, $0.columns], [1, hidden], [$0.columns, hidden], [1, $0.columns]]
      },
      notes: { [$0.rows, hidden] }, sizes: [sizes], bound: 1,
      forward: { b in
        withUnsafeTemporaryAllocation(of: Float.self, capacity: scratch(b)) { scratch in
          for rows in b.rowParts {
            mlpForward(
              b.x[0], layers(b).first, layers(b).second, hidden: b.notes, into: b.y, rows: rows,
              scratch: scratch.baseAddress!)
          }
        }
      },
      backward: { b in
        let dHidden = StridedMemory(rows: b.sizes.rows, columns: hidden)
        defer { withExtendedLifetime(dHidden) {} }
        withUnsafeTemporaryAllocation(of: Float.self, capacity: scratch(b)) { scratch in
          for rows in b.rowParts {
            mlpInputBackward(
              layers(b).first, layers(b).second, hidden: b.notes, dHidden: dHidden.matrix, dy: b.dy, dx: b.dx[0],
              rows: rows, scratch: scratch.baseAddress!)
          }
        }
        for (x, dy, i) in [(b.notes, b.dy, 3), (b.x[0], dHidden.matrix, 1)] {
          let (weight, bias, outputs) = (b.dx[i], b.dx[i + 1], i == 1 ? hidden : b.sizes.columns)
          linearWeightBackward(
            x, dy: dy, dWeight: weight, rows: b.sizes.rows, outputs: 0..<outputs, inputs: 0..<x.columns)
          linearBiasBackward(dy: dy, dBias: bias, rows: b.sizes.rows, outputs: 0..<outputs)
        }
      },
      twin: { x, _ in Twin.linear(Twin.gelu(Twin.linear(x[0], weight: x[1], bias: x[2])), weight: x[3], bias: x[4]) })
  }

  /// Self-attention as far as a kernel can tell if there are as many keys as rows, else cross-attention.
  private static func attention(heads: Int, _ sizes: Sizes, keys: Int) -> OperationCase {
    @Sendable func eachHead(
      _ b: Buffers,
      _ run: (_ head: AttentionHead, _ columns: Range<Int>, _ lane: Int, _ queries: Int, _ keys: Int) -> Void
    ) {
      let size = b.sizes.columns / heads
      for sample in 0..<b.sizes.samples {
        for lane in 0..<heads {
          let (first, firstKey) = (sample * b.sizes.length, sample * keys)
          let head = AttentionHead(
            q: b.x[0], k: b.x[1], v: b.x[2], head: lane, size: size, queries: first..<first + b.sizes.length,
            keys: firstKey..<firstKey + keys)
          run(head, lane * size..<(lane + 1) * size, lane, first, firstKey)
        }
      }
    }
    let scratch = AttentionHead.scratch(queries: sizes.length, keys: keys)
    return OperationCase(
      name: "attention to \(keys) keys with \(heads) heads",
      inputs: { [[$0.rows, $0.columns], [$0.samples * keys, $0.columns], [$0.samples * keys, $0.columns]] },
      notes: { [$0.rows, heads] }, sizes: [sizes],
      forward: { b in
        withUnsafeTemporaryAllocation(of: Float.self, capacity: scratch) { scratch in
          eachHead(b) { head, columns, lane, first, _ in
            attentionForward(
              head, into: b.y.columns(columns).from(first), logSumExp: b.notes.columns(lane..<lane + 1).from(first),
              scratch: scratch.baseAddress!)
          }
        }
      },
      backward: { b in
        withUnsafeTemporaryAllocation(of: Float.self, capacity: scratch) { scratch in
          eachHead(b) { head, columns, lane, first, firstKey in
            attentionBackward(
              head, y: b.y.columns(columns).from(first), dy: b.dy.columns(columns).from(first),
              logSumExp: b.notes.columns(lane..<lane + 1).from(first), dq: b.dx[0].columns(columns).from(first),
              dk: b.dx[1].columns(columns).from(firstKey), dv: b.dx[2].columns(columns).from(firstKey),
              scratch: scratch.baseAddress!)
          }
        }
      },
      twin: { x, s in Twin.attention(x[0], x[1], x[2], heads: heads, samples: s.samples) })
  }

  /// Patches of images, and images of patches; each is the other's way back.
  private static func patches(_ grid: PatchGrid, _ order: PatchOrder) -> [OperationCase] {
    let size = "\(grid.channels)×\(grid.size)×\(grid.size) in \(grid.patch)×\(grid.patch), \(order)"
    let (images, rows) = ([3, grid.imageSize], [3 * grid.count, grid.patchSize])
    let sizes = [Sizes(samples: 3, length: grid.count, columns: grid.patchSize)]
    return [
      OperationCase(
        name: "patchify \(size)", inputs: { _ in [images] }, output: { _ in rows }, sizes: sizes, accumulates: false,
        forward: { b in for samples in b.sampleParts { patchify(b.x[0], into: b.y, grid, order, samples: samples) } },
        backward: { b in
          for samples in b.sampleParts { unpatchify(b.dy, into: b.dx[0].matrix, grid, order, samples: samples) }
        },
        twin: { x, _ in
          Twin.patchify(
            x[0], channels: grid.channels, size: grid.size, patch: grid.patch, channelsFirst: order == .channelsFirst)
        }),
      OperationCase(
        name: "unpatchify \(size)", inputs: { _ in [rows] }, output: { _ in images }, sizes: sizes, accumulates: false,
        forward: { b in for samples in b.sampleParts { unpatchify(b.x[0], into: b.y, grid, order, samples: samples) } },
        backward: { b in
          for samples in b.sampleParts { patchify(b.dy, into: b.dx[0].matrix, grid, order, samples: samples) }
        },
        twin: { x, _ in
          Twin.unpatchify(
            x[0], channels: grid.channels, size: grid.size, patch: grid.patch, channelsFirst: order == .channelsFirst)
        }),
    ]
  }
}

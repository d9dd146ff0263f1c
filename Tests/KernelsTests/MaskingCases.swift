import Kernels
import Oracles

extension OperationCase {
  /// What a masked network needs: tokens that go and come back, and attention that knows places.
  static let masking: [OperationCase] =
    [0, 1, 3, 5].flatMap { kept in [keep(kept), restore(kept), choose(kept)] } + [
      OperationCase(
        name: "trained table sum", inputs: { [[$0.rows, $0.columns], [$0.length, $0.columns]] },
        forward: { b in
          for rows in b.rowParts {
            tableSumForward(b.x[0], table: b.x[1], into: b.y, length: b.sizes.length, rows: rows)
          }
        },
        backward: { b in
          for rows in b.rowParts { sumBackward(dy: b.dy, dx: b.dx[0], rows: rows) }
          for rows in Buffers.parts(b.sizes.length) {
            tableSumBackward(
              dy: b.dy, dTable: b.dx[1], length: b.sizes.length, samples: b.sizes.samples, rows: rows)
          }
        },
        twin: { x, s in Twin.tableSum(x[0], table: x[1], length: s.length) }),
      OperationCase(
        name: "concatenation", inputs: { [[$0.rows, $0.columns], [$0.rows, 5]] },
        output: { [$0.rows, $0.columns + 5] },
        forward: { b in for rows in b.rowParts { concatenateForward(b.x[0], b.x[1], into: b.y, rows: rows) } },
        backward: { b in
          let columns = b.sizes.columns
          for rows in b.rowParts {
            sumBackward(dy: b.dy.columns(0..<columns), dx: b.dx[0], rows: rows)
            sumBackward(dy: b.dy.columns(columns..<columns + 5), dx: b.dx[1], rows: rows)
          }
        },
        twin: { x, s in
          Table(s.rows, s.columns + 5) { r, c in c < s.columns ? x[0][r, c] : x[1][r, c - s.columns] }
        }),
      biasedAttention(heads: 2, grid: 3, Sizes(samples: 2, length: 9, columns: 6), isShuffled: false),
      biasedAttention(heads: 3, grid: 4, Sizes(samples: 2, length: 7, columns: 9), isShuffled: true),
      biasedAttention(heads: 1, grid: 1, Sizes(samples: 2, length: 1, columns: 2), isShuffled: false),
      biasedAttention(heads: 1, grid: 18, Sizes(samples: 1, length: 324, columns: 1), isShuffled: false),
      biasedAttention(heads: 2, grid: 5, Sizes(samples: 1, length: 25, columns: 4), isShuffled: true),
    ]

  /// A permutation of a sample's tokens, for each sample another one.
  private static func order(_ length: Int, _ samples: Int) -> [Int32] {
    var numbers = Numbers(seed: UInt64(length))
    var order: [Int32] = []
    for _ in 0..<samples { order += Array(0..<Int32(length)).shuffled(using: &numbers) }
    return order
  }

  private static func keep(_ kept: Int) -> OperationCase {
    OperationCase(
      name: "keep \(kept)", inputs: { [[$0.rows, $0.columns]] }, output: { [$0.samples * kept, $0.columns] },
      forward: { b in
        order(b.sizes.length, b.sizes.samples).withUnsafeBufferPointer {
          for samples in b.sampleParts {
            keepForward(
              b.x[0], order: $0.baseAddress!, into: b.y, length: b.sizes.length, kept: kept, samples: samples)
          }
        }
      },
      backward: { b in
        order(b.sizes.length, b.sizes.samples).withUnsafeBufferPointer {
          for samples in b.sampleParts {
            keepBackward(
              order: $0.baseAddress!, dy: b.dy, dx: b.dx[0], length: b.sizes.length, kept: kept, samples: samples)
          }
        }
      },
      twin: { x, s in
        let order = order(s.length, s.samples)
        return Table(s.samples * kept, s.columns) { r, c in
          let (sample, i) = r.quotientAndRemainder(dividingBy: kept)
          return x[0][sample * s.length + Int(order[sample * s.length + i]), c]
        }
      })
  }

  private static func restore(_ kept: Int) -> OperationCase {
    OperationCase(
      name: "restore \(kept)", inputs: { [[$0.samples * kept, $0.columns], [1, $0.columns]] },
      output: { [$0.rows, $0.columns] },
      forward: { b in
        order(b.sizes.length, b.sizes.samples).withUnsafeBufferPointer {
          for samples in b.sampleParts {
            restoreForward(
              b.x[0], token: b.x[1].base, order: $0.baseAddress!, into: b.y, length: b.sizes.length, kept: kept,
              samples: samples)
          }
        }
      },
      backward: { b in
        order(b.sizes.length, b.sizes.samples).withUnsafeBufferPointer {
          for samples in b.sampleParts {
            restoreBackward(
              order: $0.baseAddress!, dy: b.dy, dx: b.dx[0], length: b.sizes.length, kept: kept, samples: samples)
          }
          restoreTokenBackward(
            order: $0.baseAddress!, dy: b.dy, dToken: b.dx[1], length: b.sizes.length, kept: kept,
            samples: b.sizes.samples)
        }
      },
      twin: { x, s in
        let order = order(s.length, s.samples)
        var y = Table(s.rows, s.columns) { _, c in x[1][0, c] }
        for sample in 0..<s.samples {
          for i in 0..<kept {
            for c in 0..<s.columns {
              y[sample * s.length + Int(order[sample * s.length + i]), c] = x[0][sample * kept + i, c]
            }
          }
        }
        return y
      })
  }

  private static func choose(_ kept: Int) -> OperationCase {
    OperationCase(
      name: "choose, \(kept) present", inputs: { [[$0.rows, $0.columns], [$0.rows, $0.columns]] },
      forward: { b in
        order(b.sizes.length, b.sizes.samples).withUnsafeBufferPointer {
          for samples in b.sampleParts {
            chooseForward(
              masked: b.x[0], present: b.x[1], order: $0.baseAddress!, into: b.y, length: b.sizes.length, kept: kept,
              samples: samples)
          }
        }
      },
      backward: { b in
        order(b.sizes.length, b.sizes.samples).withUnsafeBufferPointer {
          for samples in b.sampleParts {
            chooseBackward(
              order: $0.baseAddress!, dy: b.dy, dMasked: b.dx[0], dPresent: b.dx[1], length: b.sizes.length,
              kept: kept, samples: samples)
          }
        }
      },
      twin: { x, s in
        let order = order(s.length, s.samples)
        return Table(s.rows, s.columns) { r, c in
          let (sample, place) = r.quotientAndRemainder(dividingBy: s.length)
          let present = (0..<kept).contains { order[sample * s.length + $0] == place }
          return x[present ? 1 : 0][r, c]
        }
      })
  }

  /// Self-attention with a relative position bias; shuffled, of some of the grid's places.
  private static func biasedAttention(heads: Int, grid: Int, _ sizes: Sizes, isShuffled: Bool) -> OperationCase {
    let entries = RelativePositionBias.entries(grid: grid)
    let scratch = AttentionHead.scratch(queries: sizes.length, keys: sizes.length, grid: grid)
    let places = order(grid * grid, sizes.samples)
    @Sendable func eachHead(
      _ b: Buffers, _ run: (_ head: AttentionHead, _ columns: Range<Int>, _ lane: Int, _ sample: Int) -> Void
    ) {
      let size = b.sizes.columns / heads
      places.withUnsafeBufferPointer { places in
        for sample in 0..<b.sizes.samples {
          for lane in 0..<heads {
            let rows = sample * b.sizes.length..<(sample + 1) * b.sizes.length
            let bias = RelativePositionBias(
              table: b.x[3], head: lane, grid: grid,
              places: isShuffled ? places.baseAddress! + sample * grid * grid : nil)
            let head = AttentionHead(
              q: b.x[0], k: b.x[1], v: b.x[2], head: lane, size: size, queries: rows, keys: rows, bias: bias)
            run(head, lane * size..<(lane + 1) * size, lane, sample)
          }
        }
      }
    }
    return OperationCase(
      name: "attention on a grid of side \(grid) with \(heads) heads\(isShuffled ? ", shuffled" : "")",
      inputs: {
        [[$0.rows, $0.columns], [$0.rows, $0.columns], [$0.rows, $0.columns], [entries + 3, heads]]
      },
      notes: { [$0.rows, heads] }, sizes: [sizes],
      forward: { b in
        withUnsafeTemporaryAllocation(of: Float.self, capacity: scratch) { scratch in
          eachHead(b) { head, columns, lane, sample in
            let first = sample * b.sizes.length
            attentionForward(
              head, into: b.y.columns(columns).from(first), logSumExp: b.notes.columns(lane..<lane + 1).from(first),
              scratch: scratch.baseAddress!)
          }
        }
      },
      backward: { b in
        let parts = StridedMemory(rows: b.sizes.samples, columns: heads * entries)
        defer { withExtendedLifetime(parts) {} }
        withUnsafeTemporaryAllocation(of: Float.self, capacity: scratch) { scratch in
          eachHead(b) { head, columns, lane, sample in
            let first = sample * b.sizes.length
            attentionBackward(
              head, y: b.y.columns(columns).from(first), dy: b.dy.columns(columns).from(first),
              logSumExp: b.notes.columns(lane..<lane + 1).from(first), dq: b.dx[0].columns(columns).from(first),
              dk: b.dx[1].columns(columns).from(first), dv: b.dx[2].columns(columns).from(first),
              dBias: parts.matrix.row(sample) + lane * entries, scratch: scratch.baseAddress!)
          }
        }
        relativePositionBiasBackward(parts: parts.matrix, dTable: b.dx[3], samples: b.sizes.samples)
      },
      twin: { x, s in
        Twin.attention(x[0], x[1], x[2], heads: heads, samples: s.samples) { head, sample, query, key in
          func place(_ token: Int) -> Int { isShuffled ? Int(places[sample * grid * grid + token]) : token }
          let (q, k) = (place(query), place(key))
          let (dy, dx) = (q / grid - k / grid + grid - 1, q % grid - k % grid + grid - 1)
          return x[3][dy * (2 * grid - 1) + dx, head]
        }
      })
  }
}

import Kernels

/// A trained bias for each head and each offset between two places on a square grid.
public struct PositionBias {
  /// Shape ((2·grid-1)²+3, heads).
  let table: Parameter
  let grid: Int
  /// Which of the grid's tokens are present; nil: all.
  let order: TokenOrder?

  /// The shape of its table.
  static func shape(grid: Int, heads: Int) -> [Int] { [RelativePositionBias.entries(grid: grid) + 3, heads] }

  /// The kernel's bias, for the tokens that are present.
  public init(table: Parameter, grid: Int, order: TokenOrder?) {
    self.table = table
    self.grid = grid
    self.order = order
  }
}

/// Scaled dot-product attention with several heads.
struct AttentionOperation: Operation {
  let q: Tensor
  let k: Tensor
  let v: Tensor
  let heads: Int
  let bias: PositionBias?
  let logSumExp: Tensor
  /// The gradients of the bias's entries per sample, head after head; written in the backward pass.
  let biasParts: Tensor?
  let output: Tensor

  var inputs: [Tensor] { [q, k, v] }
  var notes: [Tensor] { [logSumExp] + (biasParts.map { [$0] } ?? []) }
  var neededByBackward: [Tensor] { [q, k, v, output] }
  // A head's columns begin with a whole pair of numbers, and the keys' rows may be float32 where the queries' are not.
  private var canRound: Bool { q.columns / heads % 2 == 0 }
  var readsRounded: [Tensor] { canRound ? [q, k, v] : [] }
  var writesRounded: Bool { canRound }
  var writesRoundedGradients: [Tensor] { readsRounded }
  var readsRoundedGradient: Bool { canRound }
  var scratch: Int {
    let precisions = [output.precision] + inputs.map(\.root.gradientPrecision)
    return AttentionHead.scratch(
      queries: q.rows.maximumLength, keys: k.rows.maximumLength, grid: bias?.grid ?? 0,
      rounded: precisions.contains(.bfloat16) ? q.columns / heads : 0)
  }

  func forward(_ program: inout Program, _ memory: Memory) {
    let (y, logSumExp, size) = (memory[output], memory[logSumExp], q.columns / heads)
    let (head, queries) = (heads(memory), q.rows)
    program.samples(of: queries, lanes: heads) { samples, lane, thread in
      let columns = lane * size..<(lane + 1) * size
      for sample in samples {
        let first = sample * queries.length
        attentionForward(
          head(sample, lane), into: y.columns(columns).from(first),
          logSumExp: logSumExp.columns(lane..<lane + 1).from(first),
          scratch: memory.scratch(thread))
      }
    }
  }

  func backward(_ program: inout Program, _ memory: Memory) {
    // In the order in which the kernel writes them. In self-attention the three are parts of one tensor, so either all
    // need gradients or none.
    guard let dv = memory.gradient(of: v), let dq = memory.gradient(of: q), let dk = memory.gradient(of: k) else {
      preconditionFailure("queries, keys and values must all depend on parameters")
    }
    let (y, dy, logSumExp) = (memory[output], memory.gradient(ofOutput: output), memory[logSumExp])
    let (head, queries, keys, size) = (heads(memory), q.rows, k.rows, q.columns / heads)
    let (parts, entries) = (biasParts.map { memory[$0] }, bias.map { RelativePositionBias.entries(grid: $0.grid) } ?? 0)
    program.samples(of: queries, lanes: heads) { samples, lane, thread in
      let columns = lane * size..<(lane + 1) * size
      for sample in samples {
        let (first, firstKey) = (sample * queries.length, sample * keys.length)
        attentionBackward(
          head(sample, lane), y: y.columns(columns).from(first), dy: dy.columns(columns).from(first),
          logSumExp: logSumExp.columns(lane..<lane + 1).from(first), dq: dq.columns(columns).from(first),
          dk: dk.columns(columns).from(firstKey), dv: dv.columns(columns).from(firstKey),
          dBias: parts.map { $0.row(sample) + lane * entries }, scratch: memory.scratch(thread))
      }
    }
    if let bias, let parts {
      let dTable = memory.gradient(of: bias.table, &program)
      program.deferTasks(1) { _ in
        relativePositionBiasBackward(parts: parts, dTable: dTable(), samples: queries.samples.count)
      }
    }
  }

  private func heads(_ memory: Memory) -> (_ sample: Int, _ head: Int) -> AttentionHead {
    let (queries, keys, size) = (q.rows, k.rows, q.columns / heads)
    let (q, k, v, precision) = (memory[q], memory[k], memory[v], memory.precision(of: queries))
    let (bias, table) = (bias, bias.map { memory[$0.table] })
    return { sample, head in
      var headBias: RelativePositionBias?
      if let bias, let table {
        let places = bias.order.map { UnsafePointer($0.base + sample * $0.length) }
        headBias = RelativePositionBias(table: table, head: head, grid: bias.grid, places: places)
      }
      return AttentionHead(
        q: q, k: k, v: v, head: head, size: size,
        queries: sample * queries.length..<(sample + 1) * queries.length,
        keys: sample * keys.length..<(sample + 1) * keys.length, bias: headBias, precision)
    }
  }
}

extension Recorder {
  /// Attention of each query to the keys of its sample, head by head; q, k and v have equal columns.
  ///
  /// - Parameter bias: added to the scores of tokens on a grid.
  public func attention(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, bias: PositionBias? = nil
  ) -> Tensor {
    // Blocks of queries are completed one by one, while every block adds to the keys.
    precondition(q != k && q != v, "queries are a tensor of their own, or a part of their own")
    return record(
      AttentionOperation(
        q: q, k: k, v: v, heads: heads, bias: bias, logSumExp: note(q.rows, columns: heads),
        biasParts: bias.map {
          note(Rows(samples, length: 1), columns: heads * RelativePositionBias.entries(grid: $0.grid))
        },
        output: output(q.rows, columns: v.columns, of: [q, k, v], hasParameters: bias != nil)))
  }
}

import Oracles
import Testing

@testable import Kernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Forward and backward passes with products of bfloat16, within bounds that follow from the rounding of their factors.
@Suite("Operations in bfloat16")
struct BFloat16OperationTests {
  private func expect(_ name: String, _ got: StridedMemory, _ wanted: Approximate) {
    let violation = wanted.violation(by: got.table)
    #expect(violation == nil && !got.isOverrun, "\(name)\(violation ?? " is written beyond its rows")")
  }

  @Test("A layer's output and gradients", arguments: [[3, 5, 4], [20, 17, 49], [9, 100, 33], [40, 16, 16]])
  func linear(sizes: [Int]) {
    let (rows, inputs, outputs) = (sizes[0], sizes[1], sizes[2])
    var numbers = Numbers(seed: UInt64(inputs))
    let tables = [(rows, inputs), (outputs, inputs), (1, outputs), (rows, outputs)].map {
      Table($0.0, $0.1, of: &numbers)
    }
    let memory = tables.map { StridedMemory($0) }
    let exact = tables.map { Approximate($0) }
    defer { withExtendedLifetime(memory) {} }
    let layer = LinearParameters(weight: memory[1].matrix, bias: memory[2].matrix.base, .bfloat16)
    let results = [(rows, outputs), (rows, inputs), (outputs, inputs)].map { StridedMemory(rows: $0.0, columns: $0.1) }
    let targets = results.map { GradientTarget($0.matrix, accumulates: false) }
    for rows in Buffers.parts(rows) {
      linearForward(memory[0].matrix, layer, into: results[0].matrix, rows: rows, outputs: 0..<outputs)
      linearInputBackward(dy: memory[3].matrix, layer, dx: targets[1], rows: rows, inputs: 0..<inputs)
    }
    linearWeightBackward(
      memory[0].matrix, dy: memory[3].matrix, dWeight: targets[2], rows: rows, outputs: 0..<outputs, inputs: 0..<inputs,
      .bfloat16)
    expect("y", results[0], exact[0].multiplied(by: exact[1].transposed) + exact[2])
    expect("dx", results[1], exact[3].multiplied(by: exact[1]))
    expect("dW", results[2], exact[3].transposed.multiplied(by: exact[0]))
  }

  @Test("An MLP's output and gradients", arguments: [[5, 4, 7], [20, 17, 50], [9, 48, 16], [300, 3, 5]])
  func mlp(sizes: [Int]) {
    let (rows, columns, hidden) = (sizes[0], sizes[1], sizes[2])
    var numbers = Numbers(seed: UInt64(hidden))
    let shapes = [
      (rows, columns), (hidden, columns), (1, hidden), (columns, hidden), (1, columns), (rows, columns),
    ]
    let tables = shapes.map { Table($0.0, $0.1, within: 1, of: &numbers) }
    let memory = tables.map { StridedMemory($0) }
    let exact = tables.map { Approximate($0) }
    let (x, dy) = (memory[0].matrix, memory[5].matrix)
    let first = LinearParameters(weight: memory[1].matrix, bias: memory[2].matrix.base, .bfloat16)
    let second = LinearParameters(weight: memory[3].matrix, bias: memory[4].matrix.base, .bfloat16)
    let results = [(rows, columns), (rows, columns), (hidden, columns), (columns, hidden), (1, hidden)].map {
      StridedMemory(rows: $0.0, columns: $0.1)
    }
    let targets = results.map { GradientTarget($0.matrix, accumulates: false) }
    let u = StridedMemory(rows: rows, columns: Precision.bfloat16.keptColumns(hidden))
    let du = StridedMemory(rows: rows, columns: hidden)
    let scratch = UnsafeMutablePointer<Float>.allocate(capacity: mlpScratch(hidden: hidden, .bfloat16))
    defer { withExtendedLifetime((memory, u, du)) { scratch.deallocate() } }
    mlpForward(x, first, second, hidden: u.matrix, into: results[0].matrix, rows: 0..<rows, scratch: scratch)
    mlpInputBackward(
      first, second, hidden: u.matrix, dHidden: du.matrix, dy: dy, dx: targets[1], rows: 0..<rows)
    linearWeightBackward(
      x, dy: du.matrix, dWeight: targets[2], rows: rows, outputs: 0..<hidden, inputs: 0..<columns, .bfloat16)
    linearWeightBackward(
      u.matrix, dy: dy, dWeight: targets[3], rows: rows, outputs: 0..<columns, inputs: 0..<hidden, .bfloat16,
      isKept: true)
    linearBiasBackward(dy: du.matrix, dBias: targets[4], rows: rows, outputs: 0..<hidden)

    // GELU's input is kept in bfloat16.
    let before = (exact[0].multiplied(by: exact[1].transposed) + exact[2]).rounded
    // GELU' is at most 1.13, and GELU'' at most GELU''(0) = √(8/π)/2.
    let activated = before.mapped(slope: 1.13, accuracy: 1e-6) { Twin.gelu(Table(1, 1, [$0]))[0, 0] }
    let slopes = before.mapped(slope: 0.8, accuracy: 3e-6) { u in
      let (c, cubic) = ((2 / Double.pi).squareRoot(), 0.044715)
      let t = tanh(c * (u + cubic * u * u * u))
      return 0.5 * (1 + t) + 0.5 * u * (1 - t * t) * c * (1 + 3 * cubic * u * u)
    }
    let gradient = exact[5].multiplied(by: exact[3]) * slopes
    expect("y", results[0], activated.multiplied(by: exact[3].transposed) + exact[4])
    expect("dx", results[1], gradient.multiplied(by: exact[1]))
    expect("dW1", results[2], gradient.transposed.multiplied(by: exact[0]))
    expect("dW2", results[3], exact[5].transposed.multiplied(by: activated))
    expect("db1", results[4], gradient.columnSums)
    #expect(!u.isOverrun && !du.isOverrun)
  }

  @Test("Attention's output and gradients", arguments: [[3, 5, 4], [16, 16, 16], [7, 20, 33], [50, 49, 17]])
  func attention(sizes: [Int]) {
    let (queries, keys, size) = (sizes[0], sizes[1], sizes[2])
    var numbers = Numbers(seed: UInt64(keys))
    let tables = [(queries, size), (keys, size), (keys, size), (queries, size)].map {
      Table($0.0, $0.1, within: 1, of: &numbers)
    }
    let memory = tables.map { StridedMemory($0) }
    let (q, k, v, dy) = (
      Approximate(tables[0]), Approximate(tables[1]), Approximate(tables[2]), Approximate(tables[3])
    )
    let (y, logSumExp) = (StridedMemory(rows: queries, columns: size), StridedMemory(rows: queries, columns: 1))
    let results = tables.prefix(3).map { StridedMemory(rows: $0.rows, columns: $0.columns) }
    let targets = results.map { GradientTarget($0.matrix, accumulates: false) }
    let scratch = UnsafeMutablePointer<Float>.allocate(
      capacity: AttentionHead.scratch(queries: queries, keys: keys))
    defer { withExtendedLifetime((memory, logSumExp)) { scratch.deallocate() } }
    let head = AttentionHead(
      q: memory[0].matrix, k: memory[1].matrix, v: memory[2].matrix, head: 0, size: size, queries: 0..<queries,
      keys: 0..<keys, .bfloat16)
    attentionForward(head, into: y.matrix, logSumExp: logSumExp.matrix, scratch: scratch)
    attentionBackward(
      head, y: y.matrix, dy: memory[3].matrix, logSumExp: logSumExp.matrix, dq: targets[0], dk: targets[1],
      dv: targets[2], scratch: scratch)

    let scale = 1 / Double(size).squareRoot()
    let scores = q.multiplied(by: k.transposed).mapped(slope: scale, accuracy: 1e-7) { $0 * scale }
    // A score is off by `error`, and so is the largest of its row, or the row's log-sum-exp.
    let worst = Table(queries, 1) { r, _ in (scores.error.row(r).max() ?? 0) + 1e-6 }
    func powers(minus start: (_ row: Int) -> Double) -> Approximate {
      let value = Table(queries, keys) { r, c in exp(scores.value[r, c] - start(r)) }
      return Approximate(
        value,
        error: Table(queries, keys) { r, c in value[r, c] * (exp(scores.error[r, c] + worst[r, 0]) - 1 + 1e-6) })
    }
    let maxima = (0..<queries).map { scores.value.row($0).max() ?? 0 }
    let unnormalized = powers { maxima[$0] }
    let numerators = unnormalized.multiplied(by: v)
    let output = Approximate(
      Table(queries, size) { r, c in numerators.value[r, c] / unnormalized.value.row(r).reduce(0, +) },
      error: Table(queries, size) { r, c in
        let (sum, ofSum) = (unnormalized.value.row(r).reduce(0, +), unnormalized.error.row(r).reduce(0, +))
        let result = abs(numerators.value[r, c]) / sum
        return (numerators.error[r, c] + result * ofSum) / (sum - ofSum) + 1e-6 * result
      })
    expect("y", y, output)
    let logarithms = (0..<queries).map { r in maxima[r] + log(unnormalized.value.row(r).reduce(0, +)) }
    let probabilities = powers { logarithms[$0] }
    let means = (dy * output).transposed.columnSums.transposed
    let differences =
      dy.multiplied(by: v.transposed)
      + Approximate(
        Table(queries, keys) { r, _ in -means.value[r, 0] }, error: Table(queries, keys) { r, _ in means.error[r, 0] })
    let gradients = (probabilities * differences).mapped(slope: scale, accuracy: 1e-7) { $0 * scale }
    expect("dv", results[2], probabilities.transposed.multiplied(by: dy))
    expect("dk", results[1], gradients.transposed.multiplied(by: q))
    expect("dq", results[0], gradients.multiplied(by: k))
  }
}

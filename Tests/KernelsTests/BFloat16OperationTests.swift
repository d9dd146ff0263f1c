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

  /// What is given, or the same in another precision.
  private func stored(_ memory: StridedMemory, _ precision: Precision) -> StridedMemory {
    precision == .float32 ? memory : memory.rounded
  }

  private func stored(_ exact: Approximate, _ precision: Precision) -> Approximate {
    precision == .float32 ? exact : exact.rounded
  }

  @Test(
    "A layer's output and gradients, of floats and of bfloat16 in memory",
    arguments: [[3, 5, 4], [20, 17, 49], [9, 100, 33], [40, 16, 16], [300, 3, 35]], Precision.allCases)
  func linear(sizes: [Int], storage: Precision) {
    let (rows, inputs, outputs) = (sizes[0], sizes[1], sizes[2])
    var numbers = Numbers(seed: UInt64(inputs))
    let tables = [(rows, inputs), (outputs, inputs), (1, outputs), (rows, outputs)].map {
      Table($0.0, $0.1, of: &numbers)
    }
    let memory = tables.map { StridedMemory($0) }
    let exact = tables.map { Approximate($0) }
    let (x, dy) = (stored(memory[0], storage), stored(memory[3], storage))
    let scratch = UnsafeMutablePointer<Float>.allocate(
      capacity: linearScratch(outputs: max(inputs, outputs), storage))
    defer { withExtendedLifetime((memory, x, dy)) { scratch.deallocate() } }
    let layer = LinearParameters(weight: memory[1].matrix, bias: memory[2].matrix.base, .bfloat16)
    let results =
      [(rows, outputs), (rows, inputs)].map { StridedMemory(rows: $0.0, columns: $0.1, storage) }
      + [(outputs, inputs), (1, outputs)].map { StridedMemory(rows: $0.0, columns: $0.1) }
    let targets = results.map { GradientTarget($0.matrix, accumulates: false) }
    for rows in Buffers.parts(rows) {
      linearForward(x.matrix, layer, into: results[0].matrix, rows: rows, outputs: 0..<outputs, scratch: scratch)
      linearInputBackward(dy: dy.matrix, layer, dx: targets[1], rows: rows, inputs: 0..<inputs, scratch: scratch)
    }
    linearWeightBackward(
      x.matrix, dy: dy.matrix, dWeight: targets[2], rows: rows, outputs: 0..<outputs, inputs: 0..<inputs, .bfloat16)
    linearBiasBackward(dy: dy.matrix, dBias: targets[3], rows: rows, outputs: 0..<outputs)
    let y = exact[0].multiplied(by: exact[1].transposed) + exact[2]
    expect("y", results[0], stored(y, storage))
    expect("db", results[3], stored(exact[3], storage).columnSums)
    expect("dx", results[1], stored(exact[3].multiplied(by: exact[1]), storage))
    expect("dW", results[2], exact[3].transposed.multiplied(by: exact[0]))
  }

  @Test(
    "An MLP's output and gradients, of floats and of bfloat16 in memory",
    arguments: [[5, 4, 7], [20, 17, 50], [9, 48, 16], [300, 3, 5]], Precision.allCases)
  func mlp(sizes: [Int], storage: Precision) {
    let (rows, columns, hidden) = (sizes[0], sizes[1], sizes[2])
    var numbers = Numbers(seed: UInt64(hidden))
    let shapes = [
      (rows, columns), (hidden, columns), (1, hidden), (columns, hidden), (1, columns), (rows, columns),
    ]
    let tables = shapes.map { Table($0.0, $0.1, within: 1, of: &numbers) }
    let memory = tables.map { StridedMemory($0) }
    let exact = tables.map { Approximate($0) }
    let (input, gradients) = (stored(memory[0], storage), stored(memory[5], storage))
    let (x, dy) = (input.matrix, gradients.matrix)
    let first = LinearParameters(weight: memory[1].matrix, bias: memory[2].matrix.base, .bfloat16)
    let second = LinearParameters(weight: memory[3].matrix, bias: memory[4].matrix.base, .bfloat16)
    let results =
      [StridedMemory(rows: rows, columns: columns, storage)]
      + [(rows, columns), (hidden, columns), (columns, hidden), (1, hidden)].map {
        StridedMemory(rows: $0.0, columns: $0.1)
      }
    let targets = results.map { GradientTarget($0.matrix, accumulates: false) }
    let u = StridedMemory(rows: rows, columns: hidden, .bfloat16)
    let du = StridedMemory(rows: rows, columns: hidden, .bfloat16)
    let scratch = UnsafeMutablePointer<Float>.allocate(
      capacity: mlpScratch(hidden: hidden, outputs: columns, .bfloat16))
    defer { withExtendedLifetime((memory, input, gradients, u, du)) { scratch.deallocate() } }
    mlpForward(x, first, second, hidden: u.matrix, into: results[0].matrix, rows: 0..<rows, scratch: scratch)
    mlpInputBackward(
      first, second, hidden: u.matrix, dHidden: du.matrix, dy: dy, dx: targets[1], rows: 0..<rows, scratch: scratch)
    linearWeightBackward(
      x, dy: du.matrix, dWeight: targets[2], rows: rows, outputs: 0..<hidden, inputs: 0..<columns, .bfloat16)
    linearWeightBackward(
      u.matrix, dy: dy, dWeight: targets[3], rows: rows, outputs: 0..<columns, inputs: 0..<hidden, .bfloat16)
    linearBiasBackward(dy: du.matrix, dBias: targets[4], rows: rows, outputs: 0..<hidden)

    // GELU's input is stored in bfloat16, and so is its gradient.
    let before = (exact[0].multiplied(by: exact[1].transposed) + exact[2]).rounded
    // GELU' is at most 1.13, and GELU'' at most GELU''(0) = √(8/π)/2.
    let activated = before.mapped(slope: 1.13, accuracy: 1e-6) { Twin.gelu(Table(1, 1, [$0]))[0, 0] }
    let slopes = before.mapped(slope: 0.8, accuracy: 3e-6) { u in
      let (c, cubic) = ((2 / Double.pi).squareRoot(), 0.044715)
      let t = tanh(c * (u + cubic * u * u * u))
      return 0.5 * (1 + t) + 0.5 * u * (1 - t * t) * c * (1 + 3 * cubic * u * u)
    }
    let gradient = exact[5].multiplied(by: exact[3]) * slopes
    let y = activated.multiplied(by: exact[3].transposed) + exact[4]
    expect("y", results[0], stored(y, storage))
    expect("dx", results[1], gradient.multiplied(by: exact[1]))
    expect("dW1", results[2], gradient.transposed.multiplied(by: exact[0]))
    expect("dW2", results[3], exact[5].transposed.multiplied(by: activated))
    expect("db1", results[4], gradient.rounded.columnSums)
    #expect(!u.isOverrun && !du.isOverrun)
  }

  @Test(
    "Attention's output and gradients, of floats and of bfloat16 in memory",
    arguments: [[3, 5, 4], [16, 16, 16], [7, 20, 33], [50, 49, 17], [300, 20, 6]], Precision.allCases)
  func attention(sizes: [Int], storage: Precision) {
    let (queries, keys, size) = (sizes[0], sizes[1], sizes[2])
    var numbers = Numbers(seed: UInt64(keys))
    let tables = [(queries, size), (keys, size), (keys, size), (queries, size)].map {
      Table($0.0, $0.1, within: 1, of: &numbers)
    }
    let memory = tables.map { stored(StridedMemory($0), storage) }
    let (q, k, v, dy) = (
      Approximate(tables[0]), Approximate(tables[1]), Approximate(tables[2]), Approximate(tables[3])
    )
    let (y, logSumExp) = (
      StridedMemory(rows: queries, columns: size, storage), StridedMemory(rows: queries, columns: 1)
    )
    let results = tables.prefix(3).map { StridedMemory(rows: $0.rows, columns: $0.columns, storage) }
    let targets = results.map { GradientTarget($0.matrix, accumulates: false) }
    let scratch = UnsafeMutablePointer<Float>.allocate(
      capacity: AttentionHead.scratch(queries: queries, keys: keys, rounded: size))
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
    let quotients = Approximate(
      Table(queries, size) { r, c in numerators.value[r, c] / unnormalized.value.row(r).reduce(0, +) },
      error: Table(queries, size) { r, c in
        let (sum, ofSum) = (unnormalized.value.row(r).reduce(0, +), unnormalized.error.row(r).reduce(0, +))
        let result = abs(numerators.value[r, c]) / sum
        return (numerators.error[r, c] + result * ofSum) / (sum - ofSum) + 1e-6 * result
      })
    let output = stored(quotients, storage)
    expect("y", y, output)
    let logarithms = (0..<queries).map { r in maxima[r] + log(unnormalized.value.row(r).reduce(0, +)) }
    let probabilities = powers { logarithms[$0] }
    let means = (stored(dy, storage) * output).transposed.columnSums.transposed
    let differences =
      dy.multiplied(by: v.transposed)
      + Approximate(
        Table(queries, keys) { r, _ in -means.value[r, 0] }, error: Table(queries, keys) { r, _ in means.error[r, 0] })
    let gradients = (probabilities * differences).mapped(slope: scale, accuracy: 1e-7) { $0 * scale }
    expect("dv", results[2], stored(probabilities.transposed.multiplied(by: dy), storage))
    expect("dk", results[1], stored(gradients.transposed.multiplied(by: q), storage))
    expect("dq", results[0], stored(gradients.multiplied(by: k), storage))
  }

  @Test("A modulated layer norm's output of bfloat16 is that of floats, rounded", arguments: [1, 15, 16, 17, 33, 100])
  func layerNorm(columns: Int) {
    var numbers = Numbers(seed: UInt64(columns))
    let x = [(6, columns), (2, columns), (2, columns)].map { StridedMemory(Table($0.0, $0.1, of: &numbers)) }
    let statistics = StridedMemory(rows: 6, columns: 2)
    defer { withExtendedLifetime((x, statistics)) {} }
    func output(_ precision: Precision) -> StridedMemory {
      let y = StridedMemory(rows: 6, columns: columns, precision)
      for rows in Buffers.parts(6) {
        modulatedLayerNormForward(
          x[0].matrix, shift: x[1].matrix, scale: x[2].matrix, into: y.matrix, statistics: statistics.matrix, length: 3,
          rows: rows)
      }
      return y
    }
    let got = output(.bfloat16)
    let isSame = got.table == output(.float32).rounded.table
    #expect(isSame && !got.isOverrun)
  }

  @Test(
    "A gated sum reads a branch of bfloat16 as floats of the same values, and rounds its gradient",
    arguments: [1, 15, 16, 17, 33, 100])
  func gatedSum(columns: Int) {
    var numbers = Numbers(seed: UInt64(columns))
    let shapes = [(6, columns), (2, columns), (6, columns), (6, columns)]
    let memory = shapes.map { StridedMemory(Table($0.0, $0.1, of: &numbers)) }
    let rounded = memory[2].rounded
    let floats = StridedMemory(rounded.table)
    defer { withExtendedLifetime((memory, rounded, floats)) {} }
    func results(_ h: StridedMemory, _ precision: Precision) -> [Table] {
      let results = [(shapes[0], .float32), (shapes[2], precision), (shapes[1], .float32)].map {
        StridedMemory(rows: $0.0.0, columns: $0.0.1, $0.1)
      }
      let targets = results.map { GradientTarget($0.matrix, accumulates: false) }
      gatedSumForward(
        memory[0].matrix, gate: memory[1].matrix, h.matrix, into: results[0].matrix, length: 3, rows: 0..<6)
      gatedSumBackward(
        gate: memory[1].matrix, h.matrix, dy: memory[3].matrix, dh: targets[1], dGate: targets[2], length: 3,
        samples: 0..<2)
      #expect(results.allSatisfy { !$0.isOverrun })
      return (precision == .float32 ? [results[0], results[1].rounded, results[2]] : results).map(\.table)
    }
    let isSame = results(rounded, .bfloat16) == results(floats, .float32)
    #expect(isSame)
  }
}

import Kernels
import Oracles
import Testing

@Suite("Operations")
struct OperationTests {
  @Test(
    "Forward is the formula in double precision, and backward its central differences", arguments: OperationRun.all)
  func pairs(_ run: OperationRun) {
    let (operation, sizes) = (run.operation, run.sizes)
    var numbers = Numbers(seed: UInt64(sizes.columns))
    let x = operation.inputs(sizes).map { Table($0[0], $0[1], within: operation.bound, of: &numbers) }
    let twin = { @Sendable (x: [Table]) in operation.twin(x, sizes) }
    let y = twin(x)
    let weights = Table(y.rows, y.columns, of: &numbers)
    let gradients = x.indices.map { i in
      operation.fixed.contains(i) ? nil : centralDifferences(of: twin, at: x, input: i, weights: weights)
    }
    for accumulates in operation.accumulates ? [false, true] : [false] {
      let before = x.map { Table($0.rows, $0.columns, of: &numbers) }
      let memory = CaseMemory(operation, sizes, x, y, dy: weights, dx: accumulates ? before : nil)
      operation.forward(memory.buffers)
      let forward = Difference("the output", got: memory.y.table, expected: y)
      #expect(forward.relative <= operation.tolerance, "\(forward)")
      operation.backward(memory.buffers)
      for case (let i, let gradient?) in zip(x.indices, gradients) {
        let backward = Difference(
          "the gradient of input \(i)\(accumulates ? ", added to another," : "")", got: memory.dx[i].table,
          expected: accumulates ? before[i] + gradient : gradient)
        #expect(backward.relative <= operation.tolerance, "\(backward)")
      }
      #expect(memory.all.allSatisfy { !$0.isOverrun }, "something is written between the rows")
      #expect(zip(memory.x, x).allSatisfy { $0.table == $1 }, "an input is written to")
    }
  }

  @Test("Activations and their derivatives are right far out, and keep NaN")
  func farOut() {
    let magnitudes: [Double] = [0, 1e-40, 1e-30, 1e-6, 1, 5, 9, 20, 43, 87, 88, 89, 104, 1000, 1e6, 1e9]
    let x = Table(2, magnitudes.count + 1) { r, c in
      c == 0 ? 0 : Double(Float(r == 0 ? magnitudes[c - 1] : -magnitudes[c - 1]))
    }
    let input = StridedMemory(x)
    let ones = StridedMemory(Table(2, x.columns) { _, _ in 1 })
    defer { withExtendedLifetime((input, ones)) {} }
    for (name, twin) in [("GELU", Twin.gelu), ("SiLU", Twin.silu)] {
      let (y, dx) = (StridedMemory(rows: 2, columns: x.columns), StridedMemory(rows: 2, columns: x.columns))
      let target = GradientTarget(dx.matrix, accumulates: false)
      for isNaN in [false, true] {
        input.matrix.row(1)[0] = isNaN ? .nan : 0
        if name == "GELU" {
          geluForward(input.matrix, into: y.matrix, rows: 0..<2)
          let u = StridedMemory(input.table)
          defer { withExtendedLifetime(u) {} }
          for r in 0..<2 { dx.matrix.row(r).update(repeating: 1, count: x.columns) }
          geluBackward(u.matrix, gradient: dx.matrix, rows: 0..<2)
          #expect((0..<2).allSatisfy { r in (1..<x.columns).allSatisfy { u.table[r, $0] == y.table[r, $0] } })
        } else {
          siluForward(input.matrix, into: y.matrix, rows: 0..<2)
          siluBackward(input.matrix, dy: ones.matrix, dx: target, rows: 0..<2)
        }
        #expect(y.table[1, 0].isNaN == isNaN && dx.table[1, 0].isNaN == isNaN)
        for r in 0..<2 {
          for c in 1..<x.columns {
            let point = Table(1, 1, [x[r, c]])
            let slope =
              abs(x[r, c]) > 1000
              ? (r == 0 ? 1 : 0)
              : centralDifferences(
                of: { twin($0[0]) }, at: [point], input: 0, weights: Table(1, 1, [1]))[0, 0]
            #expect(abs(y.table[r, c] - twin(point)[0, 0]) <= 3e-7 * max(1, x[r, c]), "\(name)(\(x[r, c]))")
            #expect(abs(dx.table[r, c] - slope) <= 3e-6, "\(name)'(\(x[r, c]))")
          }
        }
      }
    }
  }

  @Test("A layer may have no bias")
  func noBias() {
    var numbers = Numbers(seed: 5)
    let (x, weight) = (Table(4, 17, of: &numbers), Table(6, 17, of: &numbers))
    let (input, factor, output) = (StridedMemory(x), StridedMemory(weight), StridedMemory(rows: 4, columns: 6))
    defer { withExtendedLifetime((input, factor)) {} }
    let layer = LinearParameters(weight: factor.matrix, bias: nil)
    linearForward(input.matrix, layer, into: output.matrix, rows: 0..<4, outputs: 0..<6)
    let difference = Difference(
      "the output", got: output.table, expected: Twin.linear(x, weight: weight, bias: Table(1, 6) { _, _ in 0 }))
    #expect(difference.relative < 1e-6, "\(difference)")
  }

  @Test("Attention's scratch memory for many tokens is enough for fewer", arguments: [(0, 0), (1, 17), (40, 17)])
  func scratch(queriesMissing: Int, grid: Int) {
    let sizes = (41...700).map { AttentionHead.scratch(queries: $0 - queriesMissing, keys: $0, grid: grid) }
    for (fewer, more) in zip(sizes, sizes.dropFirst()) { #expect(fewer <= more) }
  }

  @Test("A modulated layer norm computes those gradients alone that are wanted")
  func wantedGradients() {
    let sizes = Sizes(samples: 2, length: 3, columns: 17)
    var numbers = Numbers(seed: 6)
    let x = [(6, 17), (2, 17), (2, 17)].map { Table($0.0, $0.1, of: &numbers) }
    let (dy, memory) = (StridedMemory(Table(6, 17, of: &numbers)), x.map { StridedMemory($0) })
    let (y, statistics) = (StridedMemory(rows: 6, columns: 17), StridedMemory(rows: 6, columns: 2))
    modulatedLayerNormForward(
      memory[0].matrix, shift: memory[1].matrix, scale: memory[2].matrix, into: y.matrix,
      statistics: statistics.matrix, length: sizes.length, rows: 0..<6)
    defer { withExtendedLifetime((memory, dy, statistics)) {} }
    func gradients(wanting wanted: Set<Int>) -> [Table] {
      let results = x.map { StridedMemory(rows: $0.rows, columns: $0.columns) }
      let targets = results.indices.map {
        wanted.contains($0) ? GradientTarget(results[$0].matrix, accumulates: false) : nil
      }
      modulatedLayerNormBackward(
        memory[0].matrix, scale: memory[2].matrix, statistics: statistics.matrix, dy: dy.matrix, dx: targets[0],
        dShift: targets[1], dScale: targets[2], length: sizes.length, samples: 0..<sizes.samples)
      return results.map(\.table)
    }
    let all = gradients(wanting: [0, 1, 2])
    for wanted in 0..<3 { #expect(gradients(wanting: [wanted])[wanted] == all[wanted]) }
  }
}

/// The memory that `Buffers` describe. Where nothing was written, it holds NaN.
private final class CaseMemory {
  let x: [StridedMemory]
  let y: StridedMemory
  let notes: StridedMemory
  let dy: StridedMemory
  let dx: [StridedMemory]
  let buffers: Buffers

  /// - Parameter dx: what gradients are added to; nil: they are not.
  init(_ operation: OperationCase, _ sizes: Sizes, _ x: [Table], _ y: Table, dy: Table, dx: [Table]?) {
    let (output, notes) = (operation.output?(sizes) ?? [x[0].rows, x[0].columns], operation.notes(sizes))
    self.x = x.map { StridedMemory($0) }
    self.y = StridedMemory(rows: output[0], columns: output[1])
    self.notes = StridedMemory(rows: notes[0], columns: notes[1])
    self.dy = StridedMemory(dy)
    self.dx = dx?.map { StridedMemory($0) } ?? x.map { StridedMemory(rows: $0.rows, columns: $0.columns) }
    buffers = Buffers(
      sizes: sizes, x: self.x.map(\.matrix), y: self.y.matrix, notes: self.notes.matrix, dy: self.dy.matrix,
      dx: self.dx.map { GradientTarget($0.matrix, accumulates: dx != nil) })
  }

  var all: [StridedMemory] { x + dx + [y, notes, dy] }
}

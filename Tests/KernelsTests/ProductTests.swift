import Oracles
import Testing

@testable import Kernels

/// The products of a layer in sizes beyond what blocks and tiles of a matrix product hold, and with odd remainders.
@Suite("Products of a layer")
struct ProductTests {
  @Test(
    "All three products are those of doubles, in any size",
    arguments: [
      [1, 384, 40], [2, 1, 33], [7, 64, 64], [16, 16, 16], [31, 129, 65], [64, 257, 48], [100, 48, 300], [259, 70, 31],
      [300, 33, 2], [70, 520, 17], [33, 17, 520], [5, 1030, 3], [1030, 5, 3], [3, 5, 1030], [130, 130, 130],
    ], [false, true])
  func products(sizes: [Int], accumulates: Bool) {
    let (rows, inputs, outputs) = (sizes[0], sizes[1], sizes[2])
    var numbers = Numbers(seed: UInt64(rows + inputs + outputs))
    let (x, weight) = (Table(rows, inputs, of: &numbers), Table(outputs, inputs, of: &numbers))
    let (bias, dy) = (Table(1, outputs, of: &numbers), Table(rows, outputs, of: &numbers))
    // Σ of `count` products, as a table.
    func product(
      _ rows: Int, _ columns: Int, _ count: Int, plus first: Table, _ term: (_ r: Int, _ c: Int, _ i: Int) -> Double
    ) -> Table {
      Table(rows, columns) { r, c in
        var sum = first[first.rows == 1 ? 0 : r, c]
        for i in 0..<count { sum += term(r, c, i) }
        return sum
      }
    }
    let before = [(rows, inputs), (outputs, inputs), (1, outputs)].map { rows, columns in
      accumulates ? Table(rows, columns, of: &numbers) : Table(rows, columns) { _, _ in 0 }
    }
    let expected = [
      product(rows, outputs, inputs, plus: bias) { r, c, i in x[r, i] * weight[c, i] },
      product(rows, inputs, outputs, plus: before[0]) { r, c, i in dy[r, i] * weight[i, c] },
      product(outputs, inputs, rows, plus: before[1]) { r, c, i in dy[i, r] * x[i, c] },
      product(1, outputs, rows, plus: before[2]) { _, c, i in dy[i, c] },
    ]
    let memory = [x, weight, bias, dy].map { StridedMemory($0) }
    defer { withExtendedLifetime(memory) {} }
    let y = StridedMemory(rows: rows, columns: outputs)
    let gradients = before.map { accumulates ? StridedMemory($0) : StridedMemory(rows: $0.rows, columns: $0.columns) }
    let targets = gradients.map { GradientTarget($0.matrix, accumulates: accumulates) }
    let layer = LinearParameters(weight: memory[1].matrix, bias: memory[2].matrix.base)
    linearForward(memory[0].matrix, layer, into: y.matrix, rows: 0..<rows, outputs: 0..<outputs)
    linearInputBackward(dy: memory[3].matrix, layer, dx: targets[0], rows: 0..<rows, inputs: 0..<inputs)
    linearWeightBackward(
      memory[0].matrix, dy: memory[3].matrix, dWeight: targets[1], rows: rows, outputs: 0..<outputs, inputs: 0..<inputs)
    linearBiasBackward(dy: memory[3].matrix, dBias: targets[2], rows: rows, outputs: 0..<outputs)
    let names = ["y", "dx", "dWeight", "dBias"]
    for (name, (got, wanted)) in zip(names, zip([y] + gradients, expected)) {
      let difference = Difference(name, got: got.table, expected: wanted)
      #expect(difference.relative < 3e-6 && !got.isOverrun, "\(difference)")
    }
  }
}

@Suite("Packed factors")
struct PackedFactorTests {
  @Test(
    "A product with a factor that was packed in parts is the same to the last bit",
    arguments: [
      [9, 16, 48], [20, 49, 50], [12, 385, 47], [100, 400, 770], [9, 770, 1], [8, 5, 7], [10, 1537, 1541],
    ],
    1...3)
  func packed(sizes: [Int], parts: Int) {
    for precision in Precision.allCases { packed(sizes, parts, precision) }
  }

  private func packed(_ sizes: [Int], _ parts: Int, _ precision: Precision) {
    let (rows, inputs, outputs) = (sizes[0], sizes[1], sizes[2])
    var numbers = Numbers(seed: UInt64(inputs))
    let memory = [(rows, inputs), (outputs, inputs), (1, outputs), (rows, outputs)].map {
      StridedMemory(Table($0.0, $0.1, of: &numbers))
    }
    defer { withExtendedLifetime(memory) {} }
    let (weight, bias) = (memory[1].matrix, memory[2].matrix.base)
    let panels = UnsafeMutablePointer<Float>.allocate(
      capacity: max(1, PackedFactor.count(outputs: outputs, inputs: inputs, precision)))
    defer { panels.deallocate() }
    func run(_ forward: PackedFactor?, _ back: PackedFactor?) -> [Table] {
      let (y, dx) = (StridedMemory(rows: rows, columns: outputs), StridedMemory(rows: rows, columns: inputs))
      for part in 0..<parts { forward?.pack(part, of: parts) }
      linearForward(
        memory[0].matrix, LinearParameters(weight: weight, bias: bias, precision, packed: forward), into: y.matrix,
        rows: 0..<rows,
        outputs: 0..<outputs)
      for part in 0..<parts { back?.pack(part, of: parts) }
      linearInputBackward(
        dy: memory[3].matrix, LinearParameters(weight: weight, bias: bias, precision, packed: back),
        dx: GradientTarget(dx.matrix, accumulates: false), rows: 0..<rows, inputs: 0..<inputs)
      return [y.table, dx.table]
    }
    guard precision == .bfloat16 || MatrixProduct.backend == .native else { return }
    let got = run(
      PackedFactor(forward: weight, outputs: outputs, precision, at: panels),
      PackedFactor(back: weight, outputs: outputs, precision, at: panels))
    let isSame = got == run(nil, nil)
    #expect(isSame, "\(precision)")
  }
}

/// The product itself, in every order of its factors.
@Suite("Matrix products")
struct MatrixProductTests {
  /// Rows, columns and terms: around the edges of tiles (8×48, or 6×16), of vectors and of blocks (384 terms, 672 or 240
  /// columns).
  static let sizes = [
    [6, 16, 16], [7, 17, 5], [5, 15, 3], [12, 240, 20], [13, 241, 385], [11, 31, 6], [23, 239, 384], [18, 32, 2],
    [769, 17, 5], [773, 250, 390], [790, 700, 33], [9, 16, 31],
    [1, 1, 1], [8, 48, 16], [9, 49, 17], [7, 47, 15], [16, 96, 384], [3, 50, 385], [17, 673, 5], [12, 1345, 3],
    [25, 33, 770], [9, 16, 400], [260, 30, 20], [8, 2, 33], [1, 671, 20], [5, 7, 0],
  ]

  @Test(
    "A product is that of doubles in every order, scaled, and added to nothing, to what is there or to a row",
    arguments: sizes)
  func products(size: [Int]) {
    let (m, n, k) = (size[0], size[1], size[2])
    var numbers = Numbers(seed: UInt64(m + n + k))
    let (a, b) = (Table(m, k, of: &numbers), Table(k, n, of: &numbers))
    let (present, row) = (Table(m, n, of: &numbers), Table(1, n, of: &numbers))
    let product = Table(m, n) { r, c in (0..<k).reduce(0) { $0 + a[r, $1] * b[$1, c] } }
    let rowMemory = StridedMemory(row)
    defer { withExtendedLifetime(rowMemory) {} }
    let factors = [a, b].map { table in
      [StridedMemory(table), StridedMemory(Table(table.columns, table.rows) { table[$1, $0] })]
    }
    defer { withExtendedLifetime(factors) {} }
    let bases: [(String, ProductBase, (Int, Int) -> Double)] = [
      ("nothing", .zero, { _, _ in 0 }), ("what is there", .present, { present[$0, $1] }),
      ("a row", .row(rowMemory.matrix.base), { row[0, $1] }),
    ]
    let orders: [MatrixProduct.Order] = [.plain, .transposed]
    for (i, orderA) in orders.enumerated() {
      for (j, orderB) in orders.enumerated() {
        for (name, base, start) in bases {
          for alpha: Float in [1, -0.75] {
            let expected = Table(m, n) { start($0, $1) + Double(alpha) * product[$0, $1] }
            for isNative in [false, true] {
              let c = name == "what is there" ? StridedMemory(present) : StridedMemory(rows: m, columns: n)
              let (left, right) = (factors[0][i].matrix, factors[1][j].matrix)
              // What is finished is complete, and is finished once.
              let copy = StridedMemory(Table(m, n) { _, _ in 0 })
              func finish(_ rows: Range<Int>, _ columns: Range<Int>) {
                for r in rows { for i in columns { copy.matrix.row(r)[i] += c.matrix.row(r)[i] } }
              }
              if isNative {
                NativeProduct.multiply(
                  FloatElement.self, FloatElement.self, left, orderA, right, orderB, into: c.matrix, m: m, n: n, k: k,
                  alpha: alpha,
                  base: base,
                  finish: finish)
              } else {
                MatrixProduct.multiply(
                  left, orderA, right, orderB, into: c.matrix, m: m, n: n, k: k, alpha: alpha, base: base,
                  finish: finish)
              }
              let isFinished = copy.table == c.table
              #expect(isFinished)
              let difference = Difference(
                "\(orderA)·\(orderB) added to \(name), α = \(alpha), \(isNative ? "native" : "as chosen"),",
                got: c.table,
                expected: expected)
              #expect(difference.relative < 3e-6 && !c.isOverrun, "\(difference)")
            }
          }
        }
      }
    }
  }
}

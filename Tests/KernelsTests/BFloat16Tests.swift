import ArgumentErrors
import COpenBLAS
import Oracles
import Testing

@testable import Kernels

private typealias Bits = SIMD16<UInt32>

/// Floats of every kind: any bits, subnormal ones, those halfway between two bfloat16, infinities and NaN.
private func floats(_ numbers: inout Numbers) -> Vector {
  let edges: [UInt32] = [
    0, 0x8000_0000, 1, 0x8000_0001, 0x007F_FFFF, 0x007F_8000, 0x0080_0000, 0x8080_8000, 0x3F80_8000, 0x3F81_8000,
    0x3F80_7FFF, 0x3F80_8001, 0x7F7F_7FFF, 0x7F7F_8000, 0xFF7F_FFFF, 0x7F80_0000, 0xFF80_0000, 0x7F80_0001,
    0x7FC0_0000, 0xFFFF_FFFF,
  ]
  var bits = Bits()
  for i in 0..<16 {
    bits[i] =
      Bool.random(using: &numbers) ? edges.randomElement(using: &numbers)! : .random(in: 0 ... .max, using: &numbers)
  }
  return unsafeBitCast(bits, to: Vector.self)
}

/// Sixteen floats whose exponents are in a range.
private func floats(exponents: ClosedRange<UInt32>, _ numbers: inout Numbers) -> Vector {
  var bits = Bits()
  for i in 0..<16 {
    let other = UInt32.random(in: 0 ... .max, using: &numbers) & 0x807F_FFFF
    bits[i] = other | .random(in: exponents, using: &numbers) << 23
  }
  return unsafeBitCast(bits, to: Vector.self)
}

/// The nearest bfloat16, from the two around x; of both, if they are equally near, that with an even last bit.
private func nearest(_ x: Float) -> Float {
  guard x.isFinite, x.magnitude >= 0x1p-126 else { return x.isNormal || !x.isFinite ? x : x.sign == .minus ? -0.0 : 0 }
  let below = x.bitPattern & 0xFFFF_0000
  // Beyond the largest one there would be this power of two, for which infinity stands.
  func value(_ bits: UInt32) -> Double {
    bits & 0x7FFF_FFFF == 0x7F80_0000 ? (x < 0 ? -0x1p128 : 0x1p128) : Double(Float(bitPattern: bits))
  }
  let distances = (abs(Double(x) - value(below)), abs(value(below + 0x1_0000) - Double(x)))
  let isLower = distances.0 < distances.1 || (distances.0 == distances.1 && below & 0x1_0000 == 0)
  return Float(bitPattern: isLower ? below : below + 0x1_0000)
}

@Suite("bfloat16")
struct BFloat16Tests {
  static let hasInstructions = speediff_has_bfloat16_products() != 0

  @Test("Floats are rounded to the nearest one, ties to even, subnormal ones to 0, in pairs of a row and of two rows")
  func rounding() {
    var numbers = Numbers(seed: 16)
    for _ in 0..<2000 {
      let (x, y) = (floats(&numbers), floats(&numbers))
      check(BFloat16Emulation.self, x, y)
      if Self.hasInstructions { check(BFloat16Instructions.self, x, y) }
    }
  }

  private func check<Element: BFloat16Pairs>(_: Element.Type, _ x: Vector, _ y: Vector) {
    let (row, columns) = (
      unsafeBitCast(Element.pairs(x, y), to: SIMD32<UInt16>.self),
      unsafeBitCast(Element.columns(x, y), to: SIMD32<UInt16>.self)
    )
    for i in 0..<32 {
      for (got, float) in [(row[i], i < 16 ? x[i] : y[i - 16]), (columns[i], i % 2 == 0 ? x[i / 2] : y[i / 2])] {
        let value = Float(bitPattern: UInt32(got) << 16)
        let isRight =
          float.isNaN
          ? value.isNaN && got == UInt16(float.bitPattern >> 16) | 0x40
          : value.bitPattern == nearest(float).bitPattern
        #expect(isRight, "\(Element.self): \(float) became \(value), not \(nearest(float))")
      }
    }
  }

  @Test("A sum gets the product of the second of a pair, then that of the first, each rounded once; 0 below 2⁻¹²⁶")
  func sums() {
    // sum, pair a, pair b, expected.
    let cases: [(Float, (Float, Float), (Float, Float), Float)] = [
      (1, (2, 3), (5, 7), 32),
      // In the other order 1 + 2⁻²⁴ would be 1 before 2⁻²⁴ is added.
      (1, (0x1p-24, 0x1p-24), (1, 1), 1), (0, (1, 0x1p-24), (1, 1), 1), (0x1p-24, (1, 0x1p-24), (1, 1), 1 + 0x1p-23),
      (0x1p-24, (0x1p-24, 1), (1, 1), 1),
      // A product that no float holds.
      (-1, (0, 1 + 0x1p-7), (0, 1 + 0x1p-7), 0x1p-6 + 0x1p-14), (0x1p24, (0, 1 + 0x1p-7), (0, 1), 0x1p24 + 2),
      // Subnormal factors, sums and results.
      (0, (0, 0x1p-127), (0, 0x1p20), 0), (0x1p-127, (0, 1), (0, 0x1p-126), 0x1p-126),
      (0, (0, 0x1p-100), (0, 0x1p-27), 0),
      (0, (-0.0, -0x1p-100), (0, 0x1p-27), -0.0), (0, (0x1p-63, 0x1p-64), (0x1p-63, 0x1p-63), 0x1p-126),
      // 2⁻¹²⁶(1 - 2⁻²⁵) is rounded to 2⁻¹²⁶ with 24 digits, what is below to a float that would be subnormal.
      (0x1p-126, (0, -0x1p-80), (0, 0x1p-71), 0x1p-126), (0x1p-126, (0, -0x1.02p-80), (0, 0x1p-71), 0),
      (.infinity, (1, 1), (1, 1), .infinity), (0, (0x1p100, 0), (0x1p100, 0), .infinity),
      (0, (-.infinity, 0x1p100), (1, 0x1p100), .nan),
      // Finite factors have a finite product, of which the sum may be none.
      (0, (-0x1p100, 0x1p100), (0x1p100, 0x1p100), .infinity), (0, (.infinity, 0), (0, 0), .nan),
    ]
    for (sum, a, b, expected) in cases {
      func pair(_ x: (Float, Float)) -> Vector {
        splat(Float(bitPattern: x.0.bitPattern >> 16 | x.1.bitPattern & 0xFFFF_0000))
      }
      func check<Element: BFloat16Pairs>(_: Element.Type) {
        let got = Element.sum(splat(sum), plus: pair(a), times: pair(b))[3]
        let isRight = expected.isNaN ? got.isNaN : got.bitPattern == expected.bitPattern
        #expect(isRight, "\(Element.self): \(sum) + \(a)·\(b) gave \(got), not \(expected)")
      }
      check(BFloat16Emulation.self)
      if Self.hasInstructions { check(BFloat16Instructions.self) }
    }
  }

  @Test("The emulation is the instruction to the last bit", .enabled(if: hasInstructions))
  func emulation() {
    var numbers = Numbers(seed: 17)
    let scales: [(factors: ClosedRange<UInt32>, sums: ClosedRange<UInt32>)] = [
      (0...255, 0...255), (120...134, 110...140), (40...70, 0...6), (60...66, 0...3), (180...200, 245...254),
    ]
    for round in 0..<100_000 {
      let scale = scales[round % scales.count]
      func pairs() -> Vector {
        BFloat16Emulation.columns(
          floats(exponents: scale.factors, &numbers), floats(exponents: scale.factors, &numbers))
      }
      let (a, b, sum) = (pairs(), pairs(), floats(exponents: scale.sums, &numbers))
      let expected = BFloat16Instructions.sum(sum, plus: a, times: b)
      let got = BFloat16Emulation.sum(sum, plus: a, times: b)
      for i in 0..<16 where got[i].bitPattern != expected[i].bitPattern && !(got[i].isNaN && expected[i].isNaN) {
        Issue.record("\(sum[i]) + \(a[i].bitPattern)·\(b[i].bitPattern) is \(expected[i]), not \(got[i])")
        return
      }
    }
  }

  @Test("The path is the environment's, or the instructions where the processor has them")
  func path() throws {
    let instructions = try BFloat16Path.choice(nil, hasInstructions: true)
    let none = try BFloat16Path.choice(nil, hasInstructions: false)
    #expect(instructions == .instructions && none == nil)
    for has in [false, true] {
      let emulated = try BFloat16Path.choice("emulated", hasInstructions: has)
      #expect(emulated == .emulated)
      #expect(throws: ArgumentError.self) { try BFloat16Path.choice("amx", hasInstructions: has) }
    }
    #expect(throws: ArgumentError.self) { try BFloat16Path.choice("instructions", hasInstructions: false) }
    for precision in Precision.allCases { try precision.check(.emulated) }
    try Precision.float32.check(nil)
    let error = #expect(throws: ArgumentError.self) { try Precision.bfloat16.check(nil) }
    #expect(error?.argument == "precision" && error?.value.contains("SPEEDIFF_BFLOAT16=emulated") == true)
  }
}

@Suite("Matrix products of bfloat16")
struct BFloat16ProductTests {
  @Test(
    "A product is that of doubles with rounded factors within the bound of sums in float32, in every order",
    arguments: MatrixProductTests.sizes + [[16, 50, 768], [3, 17, 769], [20, 49, 1541]])
  func products(size: [Int]) {
    let (m, n, k) = (size[0], size[1], size[2])
    var numbers = Numbers(seed: UInt64(m + n + k))
    let (a, b) = (Table(m, k, of: &numbers), Table(k, n, of: &numbers))
    let (present, row) = (Table(m, n, of: &numbers), Table(1, n, of: &numbers))
    let rounded = [a, b].map { $0.map { Double(nearest(Float($0))) } }
    let product = Table(m, n) { r, c in (0..<k).reduce(0) { $0 + rounded[0][r, $1] * rounded[1][$1, c] } }
    let magnitude = Table(m, n) { r, c in (0..<k).reduce(0) { $0 + abs(rounded[0][r, $1] * rounded[1][$1, c]) } }
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
            func run<Element: BFloat16Pairs>(_: Element.Type) -> Table {
              let c = name == "what is there" ? StridedMemory(present) : StridedMemory(rows: m, columns: n)
              NativeProduct.multiply(
                Element.self, Element.self, factors[0][i].matrix, orderA, factors[1][j].matrix, orderB, into: c.matrix,
                m: m, n: n,
                k: k, alpha: alpha, base: base, finish: { _, _ in })
              #expect(!c.isOverrun)
              return c.table
            }
            let got = run(BFloat16Emulation.self)
            if BFloat16Tests.hasInstructions {
              let isSame = run(BFloat16Instructions.self) == got
              #expect(isSame, "\(orderA)·\(orderB) added to \(name) differs between emulation and instructions")
            }
            // The terms of the sum; with a factor or something to add it to, one more rounding.
            let terms = Double(k + (alpha == 1 && name == "nothing" ? 0 : 2))
            for r in 0..<m {
              for c in 0..<n {
                let expected = start(r, c) + Double(alpha) * product[r, c]
                let sum = abs(start(r, c)) + abs(Double(alpha)) * magnitude[r, c]
                let bound = terms * (0x1p-24 * sum + 0x1p-126)
                guard abs(got[r, c] - expected) > bound else { continue }
                Issue.record(
                  "\(orderA)·\(orderB) added to \(name), α = \(alpha), [\(r), \(c)]: got \(got[r, c]), expected \(expected) ± \(bound)"
                )
                return
              }
            }
          }
        }
      }
    }
  }

  @Test(
    "Factors that are stored in bfloat16 give the same bits, in every order",
    arguments: MatrixProductTests.sizes + [[16, 50, 768], [20, 49, 1541]])
  func stored(size: [Int]) {
    let (m, n, k) = (size[0], size[1], size[2])
    var numbers = Numbers(seed: UInt64(m + n + k))
    let (a, b) = (Table(m, k, of: &numbers), Table(k, n, of: &numbers))
    let orders: [MatrixProduct.Order] = [.plain, .transposed]
    func stored(_ table: Table, _ order: MatrixProduct.Order) -> StridedMemory {
      StridedMemory(order == .plain ? table : Table(table.columns, table.rows) { table[$1, $0] })
    }
    for orderA in orders {
      for orderB in orders {
        let factors = [stored(a, orderA), stored(b, orderB)]
        let rounded = factors.map { $0.rounded }
        defer { withExtendedLifetime((factors, rounded)) {} }
        func product(_ left: StridedMemory, _ right: StridedMemory) -> Table {
          let c = StridedMemory(rows: m, columns: n)
          MatrixProduct.multiply(
            left.matrix, orderA, right.matrix, orderB, into: c.matrix, m: m, n: n, k: k, base: .zero,
            precision: .bfloat16)
          return c.table
        }
        let expected = product(factors[0], factors[1])
        for (left, right) in [(rounded[0], factors[1]), (factors[0], rounded[1]), (rounded[0], rounded[1])] {
          let isSame = product(left, right) == expected
          #expect(isSame, "\(orderA)·\(orderB), \(left.matrix.precision) and \(right.matrix.precision)")
        }
      }
    }
  }

  @Test("Products of tiny and of huge factors lose what is subnormal, and become infinite, as in float32")
  func extremes() {
    for (scale, expected) in [(0x1p-70 as Float, 0 as Float), (0x1p-62, 0x1p-120), (0x1p-130, 0), (0x1p64, .infinity)] {
      let (a, b) = (StridedMemory(rows: 9, columns: 16), StridedMemory(rows: 16, columns: 3))
      let c = StridedMemory(rows: 9, columns: 3)
      for r in 0..<9 { for i in 0..<16 { a.matrix.row(r)[i] = scale } }
      for r in 0..<16 { for i in 0..<3 { b.matrix.row(r)[i] = scale } }
      MatrixProduct.multiply(
        a.matrix, .plain, b.matrix, .plain, into: c.matrix, m: 9, n: 3, k: 16, base: .zero, precision: .bfloat16)
      #expect(c.matrix.row(8)[2] == expected)
    }
  }
}

extension StridedMemory {
  /// The same rows in bfloat16.
  var rounded: StridedMemory {
    let table = table
    let result = StridedMemory(rows: table.rows, columns: matrix.columns, .bfloat16)
    for r in 0..<table.rows {
      for c in 0..<(matrix.columns + 1) / 2 {
        func bits(_ column: Int) -> UInt32 { column < table.columns ? nearest(Float(table[r, column])).bitPattern : 0 }
        result.matrix.row(r)[c] = Float(bitPattern: bits(2 * c) >> 16 | bits(2 * c + 1) & 0xFFFF_0000)
      }
    }
    return result
  }
}

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A table, and how far what is computed in its place may be off, value by value.
///
/// Each operation bounds its result's error by those of its operands, as in Wilkinson's running error analysis. So a
/// tolerance follows from the precision, and not from what was observed.
public struct Approximate {
  /// What is exact.
  public let value: Table
  /// Bounds on the error, none negative.
  public let error: Table

  /// 2⁻⁸: the largest relative error of rounding to bfloat16.
  public static let rounding = 0x1p-8
  /// 2⁻²⁴: that of float32.
  static let single = 0x1p-24

  /// A table that is given exactly, or with an error.
  public init(_ value: Table, error: Table? = nil) {
    self.value = value
    self.error = error ?? value.map { _ in 0 }
  }

  /// A bound on the magnitude of what is computed.
  private var magnitude: Table { value.map(abs) + error }

  /// The transpose.
  public var transposed: Approximate {
    func turned(_ table: Table) -> Table { Table(table.columns, table.rows) { table[$1, $0] } }
    return Approximate(turned(value), error: turned(error))
  }

  /// The same, rounded to bfloat16.
  public var rounded: Approximate { Approximate(value, error: error + magnitude.map { $0 * Self.rounding }) }

  /// Its product with another table: factors are rounded to bfloat16, sums are float32.
  public func multiplied(by other: Approximate) -> Approximate {
    let (a, b) = (value.map(abs), other.value.map(abs))
    let (largestA, largestB) = (magnitude, other.magnitude)
    let (ofA, ofB) = (rounded.error, other.rounded.error)
    let sums = Double(value.columns) * Self.single * (1 + Self.rounding) * (1 + Self.rounding)
    let errors = product(ofA, b) + product(a, ofB) + product(ofA, ofB)
    return Approximate(
      product(value, other.value), error: errors + product(largestA, largestB).map { $0 * sums + 0x1p-126 })
  }

  /// A function of each value, whose slope is at most `slope` and which is computed to `accuracy`, absolute and relative.
  public func mapped(slope: Double, accuracy: Double, _ function: (Double) -> Double) -> Approximate {
    let result = value.map(function)
    return Approximate(result, error: error.map { slope * $0 + accuracy } + result.map { accuracy * abs($0) })
  }

  /// The sum, value by value; a table of one row stands for one in which all are the same.
  public static func + (a: Approximate, b: Approximate) -> Approximate {
    combined(a, b, +) { a, b, ea, eb in ea + eb + single * (abs(a + b) + ea + eb) }
  }

  /// The product, value by value.
  public static func * (a: Approximate, b: Approximate) -> Approximate {
    combined(a, b, *) { a, b, ea, eb in
      let error = abs(a) * eb + ea * abs(b) + ea * eb
      return error + single * (abs(a * b) + error)
    }
  }

  private static func combined(
    _ a: Approximate, _ b: Approximate, _ value: (Double, Double) -> Double,
    _ error: (_ a: Double, _ b: Double, _ ofA: Double, _ ofB: Double) -> Double
  ) -> Approximate {
    func row(_ row: Int) -> Int { b.value.rows == 1 ? 0 : row }
    return Approximate(
      Table(a.value.rows, a.value.columns) { value(a.value[$0, $1], b.value[row($0), $1]) },
      error: Table(a.value.rows, a.value.columns) {
        error(a.value[$0, $1], b.value[row($0), $1], a.error[$0, $1], b.error[row($0), $1])
      })
  }

  /// The sums of its columns, as one row.
  public var columnSums: Approximate {
    func sums(_ table: Table) -> Table {
      Table(1, table.columns) { _, c in (0..<table.rows).reduce(0) { $0 + table[$1, c] } }
    }
    let rounding = sums(magnitude).map { $0 * Double(value.rows) * Self.single }
    return Approximate(sums(value), error: sums(error) + rounding)
  }

  /// What is beyond its bound; nil: nothing.
  public func violation(by got: Table) -> String? {
    for r in 0..<value.rows {
      for c in 0..<value.columns where !(abs(got[r, c] - value[r, c]) <= error[r, c]) {
        return "[\(r), \(c)]: got \(got[r, c]), expected \(value[r, c]) ± \(error[r, c])"
      }
    }
    return nil
  }

  private func product(_ a: Table, _ b: Table) -> Table {
    Table(a.rows, b.columns) { r, c in (0..<a.columns).reduce(0) { $0 + a[r, $1] * b[$1, c] } }
  }
}

/// The largest difference between two tables, and where it is.
public struct Difference: CustomStringConvertible {
  /// |got - expected| over the largest |expected|. NaN in one of them is infinitely far from all else.
  public private(set) var relative = 0.0
  private var place = "nowhere"
  private let what: String

  /// Compares every value.
  ///
  /// - Parameter what: what messages call it.
  public init(_ what: String, got: Table, expected: Table) {
    self.what = what
    precondition(got.rows == expected.rows && got.columns == expected.columns, "\(what): shapes differ")
    let largest = expected.values.map(abs).max() ?? 0
    let scale = largest > 1e-6 ? largest : 1
    for r in 0..<expected.rows {
      for c in 0..<expected.columns {
        let (value, wanted) = (got[r, c], expected[r, c])
        let error = value == wanted ? 0 : abs(value - wanted) / scale
        if error > relative || error.isNaN {
          relative = error.isNaN ? .infinity : error
          place = "[\(r), \(c)]: got \(value), expected \(wanted), the largest being \(largest)"
        }
      }
    }
  }

  /// A sentence for messages.
  public var description: String { "\(what) is off by \(relative) at \(place)" }
}

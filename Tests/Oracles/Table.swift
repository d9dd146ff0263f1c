/// Rows of doubles, in which the tests compute what floats should be.
public struct Table: Sendable, Equatable {
  /// How many rows there are.
  public let rows: Int
  /// The values of a row.
  public let columns: Int
  /// Row by row.
  public var values: [Double]

  /// Takes values row by row.
  public init(_ rows: Int, _ columns: Int, _ values: [Double]) {
    precondition(values.count == rows * columns, "a table has as many values as places")
    self.rows = rows
    self.columns = columns
    self.values = values
  }

  /// Computes each value from its place.
  public init(_ rows: Int, _ columns: Int, _ value: (_ row: Int, _ column: Int) -> Double) {
    self.rows = rows
    self.columns = columns
    values = []
    values.reserveCapacity(rows * columns)
    for r in 0..<rows { for c in 0..<columns { values.append(value(r, c)) } }
  }

  /// Values within [-bound, bound] that floats hold exactly.
  public init(_ rows: Int, _ columns: Int, within bound: Double = 2, of numbers: inout Numbers) {
    self.init(rows, columns) { _, _ in Double(Float(Double.random(in: -bound...bound, using: &numbers))) }
  }

  /// A value.
  public subscript(_ row: Int, _ column: Int) -> Double {
    get { values[row * columns + column] }
    set { values[row * columns + column] = newValue }
  }

  /// A row.
  public func row(_ row: Int) -> ArraySlice<Double> { values[row * columns..<(row + 1) * columns] }

  /// Some columns of all rows.
  public func columns(_ range: Range<Int>) -> Table { Table(rows, range.count) { self[$0, range.lowerBound + $1] } }

  /// The same function of each value.
  public func map(_ transform: (Double) -> Double) -> Table { Table(rows, columns, values.map(transform)) }

  /// The sum of two tables of one shape.
  public static func + (a: Table, b: Table) -> Table {
    precondition(a.rows == b.rows && a.columns == b.columns, "terms have one shape")
    return Table(a.rows, a.columns, zip(a.values, b.values).map(+))
  }

  /// Σ a·b over all places.
  public static func dot(_ a: Table, _ b: Table) -> Double { zip(a.values, b.values).reduce(0) { $0 + $1.0 * $1.1 } }
}

/// Numbers that are the same in every run: SplitMix64, Steele et al. 2014.
public struct Numbers: RandomNumberGenerator, Sendable {
  private var state: UInt64

  /// Begins a sequence.
  public init(seed: UInt64) { state = seed }

  /// The next 64 bits.
  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

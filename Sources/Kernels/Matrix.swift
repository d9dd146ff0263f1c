/// Rows of numbers in borrowed memory: row r starts at `base + r·stride`.
///
/// The caller of a kernel gives the number of rows, which may change from run to run. Numbers are floats, unless a kernel
/// says that it also takes bfloat16, of which two share a float of memory.
public struct Matrix: @unchecked Sendable {
  /// The first row.
  public let base: UnsafeMutablePointer<Float>
  /// The numbers of a row.
  public let columns: Int
  /// The floats of memory from a row to the next one, at least `width`.
  public let stride: Int
  /// The precision of its numbers.
  public let precision: Precision

  /// Describes memory.
  public init(
    _ base: UnsafeMutablePointer<Float>, columns: Int, stride: Int? = nil, _ precision: Precision = .float32
  ) {
    self.base = base
    self.columns = columns
    self.stride = stride ?? precision.floats(columns)
    self.precision = precision
  }

  /// The floats of memory of a row.
  var width: Int { precision.floats(columns) }

  /// The start of a row.
  @inline(__always)
  public func row(_ row: Int) -> UnsafeMutablePointer<Float> { base + row &* stride }

  /// A range of columns of the same rows; in bfloat16 it begins with an even one.
  public func columns(_ range: Range<Int>) -> Matrix {
    Matrix(base + precision.floats(range.lowerBound), columns: range.count, stride: stride, precision)
  }

  /// The same columns from a row on.
  @inline(__always)
  public func from(_ first: Int) -> Matrix { Matrix(row(first), columns: columns, stride: stride, precision) }
}

/// Where a backward pass writes the gradient of an input.
public struct GradientTarget: @unchecked Sendable {
  /// The memory; float32, unless a kernel says that it also takes bfloat16.
  public let matrix: Matrix
  /// Whether to add to what other operations have written there.
  public let accumulates: Bool

  /// Describes a target.
  public init(_ matrix: Matrix, accumulates: Bool) {
    precondition(matrix.precision == .float32 || !accumulates, "what is rounded has one part")
    self.matrix = matrix
    self.accumulates = accumulates
  }

  /// What a matrix product that computes the gradient is added to.
  var productBase: ProductBase { accumulates ? .present : .zero }

  /// A range of columns of the same rows.
  public func columns(_ range: Range<Int>) -> GradientTarget {
    GradientTarget(matrix.columns(range), accumulates: accumulates)
  }

  /// The same columns from a row on.
  public func from(_ first: Int) -> GradientTarget { GradientTarget(matrix.from(first), accumulates: accumulates) }

  /// A row to add to; it is set to zero first unless the gradient accumulates.
  func startedRow(_ row: Int) -> UnsafeMutablePointer<Float> {
    let start = matrix.row(row)
    if !accumulates { start.update(repeating: 0, count: matrix.columns) }
    return start
  }
}

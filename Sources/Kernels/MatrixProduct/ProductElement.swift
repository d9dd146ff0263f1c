/// What the factors of a product are packed as: a row of A and a column of B meet element by element.
///
/// An element is as large as a float, and sums are floats. So products of any precision share tiles, panels and strips.
protocol ProductElement {
  /// The numbers of a factor that an element holds, which follow each other in the sum.
  static var depth: Int { get }
  /// Whether rows of a factor are elements already, so that they can be read in place.
  static var areRows: Bool { get }
  /// sum + a·b for sixteen elements.
  static func sum(_ sum: Vector, plus a: Vector, times b: Vector) -> Vector
  /// The elements of up to 16·depth numbers in a row, padded with zeros.
  static func along(_ pointer: UnsafePointer<Float>, _ count: Int) -> Vector
  /// The elements of up to sixteen columns: the first number of each is in one row, the second in another, or 0.
  static func across(_ first: UnsafePointer<Float>, _ second: UnsafePointer<Float>?, _ count: Int) -> Vector
}

extension ProductElement {
  /// The elements that hold as many numbers.
  @inline(__always)
  static func count(_ numbers: Int) -> Int { (numbers &+ depth &- 1) / depth }

  /// The floats of memory from the start of a row of a factor to a column, a multiple of `depth`.
  @inline(__always)
  static func place(_ column: Int) -> Int { areRows ? column / depth : column }

  /// The rows of a matrix of which element number k of a column is made.
  @inline(__always)
  static func lines(of matrix: Matrix, _ k: Int, rows: Int) -> ElementLines<Self> {
    let first = k &* depth
    return ElementLines(
      first: matrix.row(first), second: first &+ 1 < rows ? UnsafePointer(matrix.row(first &+ 1)) : nil)
  }
}

/// The rows from which elements are made, one for each column.
struct ElementLines<Element: ProductElement> {
  fileprivate let first: UnsafePointer<Float>
  fileprivate let second: UnsafePointer<Float>?

  /// The elements of some columns.
  @inline(__always)
  func elements(_ column: Int, _ count: Int) -> Vector {
    let place = Element.place(column)
    return Element.across(first + place, second.map { $0 + place }, count)
  }
}

/// Floats themselves.
enum FloatElement: ProductElement {
  static var depth: Int { 1 }
  static var areRows: Bool { true }

  @inline(__always)
  static func sum(_ sum: Vector, plus a: Vector, times b: Vector) -> Vector { sum.addingProduct(a, b) }

  @inline(__always)
  static func along(_ pointer: UnsafePointer<Float>, _ count: Int) -> Vector { load(pointer, count) }

  @inline(__always)
  static func across(_ first: UnsafePointer<Float>, _ second: UnsafePointer<Float>?, _ count: Int) -> Vector {
    load(first, count)
  }
}

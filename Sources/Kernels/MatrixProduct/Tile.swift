import COpenBLAS

/// A row of a tile of C: one, two or three vectors, which stay in registers while the tile is accumulated.
protocol TileRow {
  static var vectors: Int { get }
  static var zero: Self { get }

  /// Adds a times a row of B.
  mutating func add<Element: ProductElement>(_: Element.Type, _ a: Float, times b: Self)
  /// A row of B, or of C.
  static func load(_ pointer: UnsafePointer<Float>) -> Self
  func store(_ pointer: UnsafeMutablePointer<Float>)
  /// self·α + other.
  func scaled(_ alpha: Float, plus other: Self) -> Self
}

struct OneVector: TileRow {
  var a: Vector

  static var vectors: Int { 1 }
  @inline(__always) static var zero: Self { Self(a: .zero) }

  @inline(__always)
  mutating func add<Element: ProductElement>(_: Element.Type, _ x: Float, times b: Self) {
    a = Element.sum(a, plus: splat(x), times: b.a)
  }

  @inline(__always)
  static func load(_ p: UnsafePointer<Float>) -> Self { Self(a: Kernels.load(p, lanes)) }

  @inline(__always)
  func store(_ p: UnsafeMutablePointer<Float>) { Kernels.store(a, p, lanes) }

  @inline(__always)
  func scaled(_ alpha: Float, plus other: Self) -> Self { Self(a: other.a.addingProduct(splat(alpha), a)) }
}

struct TwoVectors: TileRow {
  var a: Vector
  var b: Vector

  static var vectors: Int { 2 }
  @inline(__always) static var zero: Self { Self(a: .zero, b: .zero) }

  @inline(__always)
  mutating func add<Element: ProductElement>(_: Element.Type, _ x: Float, times row: Self) {
    let x = splat(x)
    a = Element.sum(a, plus: x, times: row.a)
    b = Element.sum(b, plus: x, times: row.b)
  }

  @inline(__always)
  static func load(_ p: UnsafePointer<Float>) -> Self {
    Self(a: Kernels.load(p, lanes), b: Kernels.load(p + lanes, lanes))
  }

  @inline(__always)
  func store(_ p: UnsafeMutablePointer<Float>) {
    Kernels.store(a, p, lanes)
    Kernels.store(b, p + lanes, lanes)
  }

  @inline(__always)
  func scaled(_ alpha: Float, plus other: Self) -> Self {
    let alpha = splat(alpha)
    return Self(a: other.a.addingProduct(alpha, a), b: other.b.addingProduct(alpha, b))
  }
}

struct ThreeVectors: TileRow {
  var a: Vector
  var b: Vector
  var c: Vector

  static var vectors: Int { 3 }
  @inline(__always) static var zero: Self { Self(a: .zero, b: .zero, c: .zero) }

  @inline(__always)
  mutating func add<Element: ProductElement>(_: Element.Type, _ x: Float, times row: Self) {
    let x = splat(x)
    a = Element.sum(a, plus: x, times: row.a)
    b = Element.sum(b, plus: x, times: row.b)
    c = Element.sum(c, plus: x, times: row.c)
  }

  @inline(__always)
  static func load(_ p: UnsafePointer<Float>) -> Self {
    Self(a: Kernels.load(p, lanes), b: Kernels.load(p + lanes, lanes), c: Kernels.load(p + 2 * lanes, lanes))
  }

  @inline(__always)
  func store(_ p: UnsafeMutablePointer<Float>) {
    Kernels.store(a, p, lanes)
    Kernels.store(b, p + lanes, lanes)
    Kernels.store(c, p + 2 * lanes, lanes)
  }

  @inline(__always)
  func scaled(_ alpha: Float, plus other: Self) -> Self {
    let alpha = splat(alpha)
    return Self(
      a: other.a.addingProduct(alpha, a), b: other.b.addingProduct(alpha, b), c: other.c.addingProduct(alpha, c))
  }
}

/// The rows of a tile. With its columns they fill the processor's registers: eight by three vectors of 32 registers, or six
/// by one: two registers of 8 floats for each row, of AVX2's 16.
@inline(__always)
var tileRows: Int { speediff_has_wide_vectors() != 0 ? 8 : 6 }

/// A factor of a tile: its rows of A over k elements, of which element (i, k) is at base + i·rowStride + k·columnStride.
struct TileA {
  let base: UnsafePointer<Float>
  let rowStride: Int
  let columnStride: Int
}

/// How many rows of B ahead are prefetched. The processor itself prefetches less than B's cache needs.
private let rowsAhead = 10

/// The base that a product is added to.
enum ProductBase {
  case zero
  /// The contents of C.
  case present
  /// One row, as long as those of C, for all rows.
  case row(UnsafePointer<Float>)

  /// Its part from a column on.
  @inline(__always)
  func from(_ column: Int) -> ProductBase {
    if case .row(let row) = self { return .row(row + column) }
    return self
  }
}

/// A tile of `tileRows` rows: C = base + α·A·B over k rows of elements of B that are `strideB` apart.
///
/// - Parameter rows: the rows of C; A must have as many, or be padded to `tileRows`.
@inline(__always)
func tile<Row: TileRow, Element: ProductElement>(
  _: Row.Type, _: Element.Type, _ a: TileA, _ b: UnsafePointer<Float>, strideB: Int, _ c: UnsafeMutablePointer<Float>,
  strideC: Int,
  k: Int, rows: Int, alpha: Float, base: ProductBase
) {
  var (c0, c1, c2, c3) = (Row.zero, Row.zero, Row.zero, Row.zero)
  var (c4, c5, c6, c7) = (Row.zero, Row.zero, Row.zero, Row.zero)
  // Missing rows are computed as the first one, and not stored.
  @inline(__always)
  func start(_ row: Int) -> UnsafePointer<Float> { a.base + (row < rows ? row &* a.rowStride : 0) }
  var (a0, a1, a2, a3) = (start(0), start(1), start(2), start(3))
  var (a4, a5, a6, a7) = (start(4), start(5), start(6), start(7))
  var b = b
  let step = a.columnStride
  for i in 0..<rows { prefetchToWrite(c + i &* strideC, Row.vectors) }
  for _ in 0..<k {
    let row = Row.load(b)
    prefetch(b + rowsAhead &* strideB, Row.vectors)
    c0.add(Element.self, a0.pointee, times: row)
    c1.add(Element.self, a1.pointee, times: row)
    c2.add(Element.self, a2.pointee, times: row)
    c3.add(Element.self, a3.pointee, times: row)
    c4.add(Element.self, a4.pointee, times: row)
    c5.add(Element.self, a5.pointee, times: row)
    if tileRows > 6 {
      c6.add(Element.self, a6.pointee, times: row)
      c7.add(Element.self, a7.pointee, times: row)
    }
    b += strideB
    a0 += step
    a1 += step
    a2 += step
    a3 += step
    a4 += step
    a5 += step
    if tileRows > 6 {
      a6 += step
      a7 += step
    }
  }
  @inline(__always)
  func finish(_ sum: Row, _ index: Int) {
    guard index < rows else { return }
    let target = c + index &* strideC
    let start =
      switch base {
      case .zero: Row.zero
      case .present: Row.load(target)
      case .row(let row): Row.load(row)
      }
    sum.scaled(alpha, plus: start).store(target)
  }
  finish(c0, 0)
  finish(c1, 1)
  finish(c2, 2)
  finish(c3, 3)
  finish(c4, 4)
  finish(c5, 5)
  if tileRows > 6 {
    finish(c6, 6)
    finish(c7, 7)
  }
}

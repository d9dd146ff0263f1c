/// The left factor of a product, which tiles read strip by strip: as many rows as a tile has.
struct LeftFactor<Element: ProductElement> {
  let matrix: Matrix
  let order: MatrixProduct.Order
  /// Room for the strips of a chunk of rows.
  let strips: UnsafeMutablePointer<Float>

  /// The rows of a chunk, an even number of tiles.
  static var stripRows: Int { 768 }
  /// The floats of a chunk's strips.
  static var stripFloats: Int { stripRows / tileRows * stripSize }
  /// From strip to strip: an odd number of cache lines, and room for a last line that is stored as eight elements.
  @inline(__always)
  private static var stripSize: Int { NativeProduct.blockRows &* tileRows &+ lanes }

  /// Whether rows are read where they are, since they are elements already.
  @inline(__always)
  var isInPlace: Bool { order == .plain && Element.areRows }

  /// Packs the strips of a chunk if the factor is stored transposed.
  @inline(__always)
  func packColumns(_ chunk: Range<Int>, depth: Range<Int>) {
    guard order == .transposed else { return }
    packStrips(
      Element.self,
      Matrix(
        matrix.row(depth.lowerBound) + Element.place(chunk.lowerBound), columns: chunk.count, stride: matrix.stride),
      rows: depth.count, columns: chunk.count, into: strips, stripSize: Self.stripSize)
  }

  /// The strip of a tile's rows.
  ///
  /// - Parameter isFirst: whether it is the first time for this depth. Rows that are no elements are then rounded, and
  ///   kept for the other times.
  @inline(__always)
  func strip(of rows: Range<Int>, inChunk chunk: Range<Int>, depth: Range<Int>, isFirst: Bool) -> TileA {
    let elements = Element.count(depth.count)
    let place = strips + (rows.lowerBound &- chunk.lowerBound) / tileRows &* Self.stripSize
    guard order == .plain else { return TileA(base: place, rowStride: 1, columnStride: tileRows) }
    let start = matrix.row(rows.lowerBound) + Element.place(depth.lowerBound)
    if isInPlace { return TileA(base: start, rowStride: matrix.stride, columnStride: 1) }
    if isFirst {
      packRows(
        Element.self, Matrix(start, columns: depth.count, stride: matrix.stride), rows: rows.count,
        into: Matrix(place, columns: elements))
    }
    return TileA(base: place, rowStride: elements, columnStride: 1)
  }
}

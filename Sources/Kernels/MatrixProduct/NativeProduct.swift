import COpenBLAS

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The matrix product in Swift, for processors with fused products of vectors.
///
/// As in Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008: a block of B is packed into
/// panels that stay in the L2 cache, and tiles of C are accumulated in registers. Rows of A are read in place if they are
/// elements already; otherwise strips of A, as high as a tile, are packed once for all columns of a block of rows.
enum NativeProduct {
  /// The columns of a panel.
  @inline(__always)
  static var width: Int { speediff_has_wide_vectors() != 0 ? 3 * lanes : lanes }
  /// The rows of elements of a block of B. Sums are split there, so it is the same for all processors.
  static let blockRows = 384
  /// The columns of a block: 1 MB, or 368 KB for processors with an L2 cache of 512.
  @inline(__always)
  private static var blockColumns: Int { (speediff_has_wide_vectors() != 0 ? 14 : 15) * width }

  /// C (m×n) = base + α·A·B; see `MatrixProduct.multiply`.
  ///
  /// - Parameters:
  ///   - Left, Right: what the factors are kept as; packed, both are the same.
  static func multiply<Left: ProductElement, Right: ProductElement>(
    _: Left.Type, _: Right.Type, _ a: Matrix, _ orderA: MatrixProduct.Order, _ b: Matrix, _ orderB: MatrixProduct.Order,
    into c: Matrix, m: Int, n: Int, k: Int, alpha: Float, base: ProductBase, packed: PackedFactor? = nil,
    finish: (_ rows: Range<Int>, _ columns: Range<Int>) -> Void
  ) {
    if Left.depth == 1, m <= fewRowsLimit, orderA == .plain, orderB == .transposed {
      fewRows(a, b, into: c, m: m, n: n, k: k, alpha: alpha, base: base)
      return finish(0..<m, 0..<n)
    }
    let scratch = ProductScratch.current
    let isInPlace = orderA == .plain && Left.areRows
    let chunkRows = isInPlace ? m : stripRows
    var firstK = 0
    repeat {
      let depth = min(blockRows &* Left.depth, k &- firstK)
      let elements = Left.count(depth)
      let depthBase = firstK > 0 ? .present : base
      for chunk in stride(from: 0, to: m, by: chunkRows) {
        let rowsOfChunk = min(chunkRows, m &- chunk)
        if orderA == .transposed {
          packStrips(
            Left.self, Matrix(a.row(firstK) + Left.place(chunk), columns: rowsOfChunk, stride: a.stride),
            rows: depth, columns: rowsOfChunk, into: scratch.strips, stripSize: stripSize)
        }
        var firstN = 0
        while firstN < n {
          let columns = min(blockColumns, n &- firstN)
          if packed == nil {
            packBlock(
              Right.self, b, orderB, rows: firstK..<firstK &+ depth, columns: firstN..<firstN &+ columns,
              into: scratch.panels)
          }
          let panels = packed?.panel(row: firstK, column: firstN) ?? UnsafePointer(scratch.panels)
          for firstM in stride(from: chunk, to: chunk &+ rowsOfChunk, by: tileRows) {
            let rows = min(tileRows, m &- firstM)
            let strip: TileA
            if isInPlace {
              strip = TileA(base: a.row(firstM) + Left.place(firstK), rowStride: a.stride, columnStride: 1)
            } else {
              let place = scratch.strips + (firstM &- chunk) / tileRows &* stripSize
              if orderA == .plain {
                // Rounded for the first block of columns, and kept for the others.
                if firstN == 0 {
                  packRows(
                    Left.self, Matrix(a.row(firstM) + Left.place(firstK), columns: depth, stride: a.stride),
                    rows: rows, into: Matrix(place, columns: elements))
                }
                strip = TileA(base: place, rowStride: elements, columnStride: 1)
              } else {
                strip = TileA(base: place, rowStride: 1, columnStride: tileRows)
              }
            }
            let target = Matrix(c.row(firstM) + firstN, columns: columns, stride: c.stride)
            rowOfTiles(
              Left.self, strip, panels, into: target, rows: rows, k: elements, alpha: alpha,
              base: depthBase.from(firstN), scratch.edge)
            if firstK &+ depth >= k { finish(firstM..<firstM &+ rows, firstN..<firstN &+ columns) }
          }
          firstN &+= columns
        }
      }
      firstK &+= depth
    } while firstK < k
  }

  /// Packs a part of B into panels.
  static func packBlock<Element: ProductElement>(
    _: Element.Type, _ b: Matrix, _ order: MatrixProduct.Order, rows: Range<Int>, columns: Range<Int>,
    into panels: UnsafeMutablePointer<Float>
  ) {
    if order == .plain {
      packPanels(
        Element.self,
        Matrix(b.row(rows.lowerBound) + Element.place(columns.lowerBound), columns: columns.count, stride: b.stride),
        rows: rows.count, columns: columns.count, width: width, into: panels)
    } else {
      packTransposedPanels(
        Element.self,
        Matrix(b.row(columns.lowerBound) + Element.place(rows.lowerBound), columns: rows.count, stride: b.stride),
        rows: rows.count, columns: columns.count, width: width, into: panels)
    }
  }

  /// The rows of a tile of C, for the columns of the packed block.
  private static func rowOfTiles<Element: ProductElement>(
    _: Element.Type, _ a: TileA, _ panels: UnsafePointer<Float>, into c: Matrix, rows: Int, k: Int, alpha: Float,
    base: ProductBase, _ edge: UnsafeMutablePointer<Float>
  ) {
    var (first, panel) = (0, panels)
    while first < c.columns {
      let count = min(width, c.columns &- first)
      let padded = roundedToVector(count)
      if padded == count {
        oneTile(
          Element.self, a, panel, c.base + first, strideC: c.stride, padded, rows: rows, k: k, alpha: alpha,
          base: base.from(first))
      } else {
        // A tile that extends beyond the matrix is computed elsewhere.
        oneTile(Element.self, a, panel, edge, strideC: width, padded, rows: rows, k: k, alpha: alpha, base: .zero)
        for row in 0..<rows {
          let (from, to) = (edge + row &* width, c.row(row) + first)
          forEachVector(count) { i, lanes in
            let start =
              switch base.from(first) {
              case .zero: Vector.zero
              case .present: load(to + i, lanes)
              case .row(let row): load(row + i, lanes)
              }
            store(load(from + i, lanes) + start, to + i, lanes)
          }
        }
      }
      panel += k &* padded
      first &+= count
    }
  }

  @inline(__always)
  private static func oneTile<Element: ProductElement>(
    _: Element.Type, _ a: TileA, _ panel: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>, strideC: Int,
    _ padded: Int, rows: Int, k: Int, alpha: Float, base: ProductBase
  ) {
    @inline(__always)
    func run<Row: TileRow>(_: Row.Type) {
      ofRows(
        Row.self, Element.self, a, panel, c, strideC: strideC, k: k, rows: rows, alpha: alpha, base: base)
    }
    if padded == lanes {
      run(OneVector.self)
    } else if padded == 2 * lanes {
      run(TwoVectors.self)
    } else {
      run(ThreeVectors.self)
    }
  }

  @inline(never)
  private static func ofRows<Row: TileRow, Element: ProductElement>(
    _: Row.Type, _: Element.Type, _ a: TileA, _ panel: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>,
    strideC: Int, k: Int, rows: Int, alpha: Float, base: ProductBase
  ) {
    tile(
      Row.self, Element.self, a, panel, strideB: Row.vectors &* lanes, c, strideC: strideC, k: k, rows: rows,
      alpha: alpha, base: base)
  }

  /// Allocates the calling thread's memory for packing.
  static func takeScratch() throws {
    guard ProductScratch.take() != nil else {
      throw MemoryError(bytes: ProductScratch.bytes, purpose: "a thread's memory for packing")
    }
  }

  /// The rows of A of which strips are kept, an even number of tiles.
  private static let stripRows = 768
  /// From strip to strip: an odd number of cache lines, and room for a last line that is stored as eight elements.
  @inline(__always)
  private static var stripSize: Int { blockRows &* tileRows &+ lanes }
  /// The elements of a block's panels, of the strips of A and of a tile.
  fileprivate static let sizes = (
    panels: blockRows * blockColumns, strips: stripRows / tileRows * stripSize, edge: tileRows * width
  )
}

/// A thread's memory for packing.
private struct ProductScratch {
  let panels: UnsafeMutablePointer<Float>
  let strips: UnsafeMutablePointer<Float>
  let edge: UnsafeMutablePointer<Float>

  private static let key: pthread_key_t = {
    var key = pthread_key_t()
    pthread_key_create(&key) { free($0) }
    return key
  }()

  static var bytes: Int {
    let sizes = NativeProduct.sizes
    return (sizes.panels + sizes.strips + sizes.edge) * MemoryLayout<Float>.stride
  }

  /// The calling thread's memory, freed when the thread ends; nil if it cannot be allocated.
  static func take() -> UnsafeMutableRawPointer? {
    if let memory = pthread_getspecific(key) { return memory }
    var memory: UnsafeMutableRawPointer?
    guard posix_memalign(&memory, 4096, bytes) == 0 else { return nil }
    pthread_setspecific(key, memory)
    return memory
  }

  /// The same for a thread that allocated it when its pool was made, or that needs none.
  static var current: ProductScratch {
    let sizes = NativeProduct.sizes
    guard let memory = take() else { preconditionFailure("a product has no memory for packing") }
    let base = memory.assumingMemoryBound(to: Float.self)
    return ProductScratch(panels: base, strips: base + sizes.panels, edge: base + sizes.panels + sizes.strips)
  }
}

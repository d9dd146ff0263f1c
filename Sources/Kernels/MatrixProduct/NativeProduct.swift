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
    let left = LeftFactor<Left>(matrix: a, order: orderA, strips: scratch.strips)
    var firstK = 0
    repeat {
      let depth = firstK..<min(firstK &+ blockRows &* Left.depth, k)
      let depthBase = firstK > 0 ? .present : base
      forEachBlock(of: 0..<m, size: left.isInPlace ? m : LeftFactor<Left>.stripRows) { chunk in
        left.packColumns(chunk, depth: depth)
        forEachBlock(of: 0..<n, size: blockColumns) { columns in
          if packed == nil { packBlock(Right.self, b, orderB, rows: depth, columns: columns, into: scratch.panels) }
          let panels = packed?.panel(row: firstK, column: columns.lowerBound) ?? UnsafePointer(scratch.panels)
          forEachBlock(of: chunk, size: tileRows) { rows in
            let strip = left.strip(of: rows, inChunk: chunk, depth: depth, isFirst: columns.lowerBound == 0)
            rowOfTiles(
              Left.self, strip, panels,
              into: Matrix(c.row(rows.lowerBound) + columns.lowerBound, columns: columns.count, stride: c.stride),
              rows: rows.count, k: Left.count(depth.count), alpha: alpha, base: depthBase.from(columns.lowerBound),
              scratch.edge)
            if depth.upperBound == k { finish(rows, columns) }
          }
        }
      }
      firstK = depth.upperBound
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

  /// The elements of a block's panels, of the strips of A and of a tile.
  fileprivate static let sizes = (
    panels: blockRows * blockColumns, strips: LeftFactor<FloatElement>.stripFloats, edge: tileRows * width
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

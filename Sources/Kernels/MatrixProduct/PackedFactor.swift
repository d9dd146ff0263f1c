/// The right factor of products with several left ones, copied once into the order in which they read it.
///
/// Where each product packs the factor for itself, that costs an eighth of its time with 256 rows on the left.
public struct PackedFactor {
  let panels: UnsafeMutablePointer<Float>
  private let source: Matrix
  private let order: MatrixProduct.Order
  private let (rows, columns): (Int, Int)

  /// The floats that a weight takes; 0 where products do not read packed factors.
  public static func count(outputs: Int, inputs: Int) -> Int {
    MatrixProduct.backend == .native
      ? max(inputs * roundedToVector(outputs), outputs * roundedToVector(inputs)) : 0
  }

  /// Wᵀ for y = x·Wᵀ, with W of shape (outputs, inputs).
  public init(forward weight: Matrix, outputs: Int, at memory: UnsafeMutablePointer<Float>) {
    (panels, source, order, rows, columns) = (memory, weight, .transposed, weight.columns, outputs)
  }

  /// W for dx = dy·W.
  public init(back weight: Matrix, outputs: Int, at memory: UnsafeMutablePointer<Float>) {
    (panels, source, order, rows, columns) = (memory, weight, .plain, outputs, weight.columns)
  }

  /// Packs one of several parts of the weight as it is now.
  public func pack(_ index: Int, of parts: Int) {
    let range = part(index, of: parts, count: columns, unit: NativeProduct.width)
    guard !range.isEmpty else { return }
    for first in stride(from: 0, to: rows, by: NativeProduct.blockRows) {
      let depth = min(NativeProduct.blockRows, rows - first)
      NativeProduct.packBlock(
        source, order, rows: first..<first + depth, columns: range,
        into: UnsafeMutablePointer(mutating: panel(row: first, column: range.lowerBound)))
    }
  }

  /// The first panel of a block of rows, and from a column on.
  @inline(__always)
  func panel(row: Int, column: Int) -> UnsafePointer<Float> {
    UnsafePointer(panels + row &* roundedToVector(columns) + column &* min(NativeProduct.blockRows, rows &- row))
  }
}

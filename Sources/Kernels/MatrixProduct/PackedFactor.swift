/// The right factor of several products, copied once into the order in which they read it.
///
/// If each product packed the factor itself, that would take an eighth of its time with 256 rows on the left.
public struct PackedFactor {
  let panels: UnsafeMutablePointer<Float>
  private let source: Matrix
  private let order: MatrixProduct.Order
  private let (rows, columns): (Int, Int)

  /// The floats of a packed weight; 0 if products do not read packed factors.
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

  /// Packs one of several parts of the weight's current values.
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

  /// The panels of a block of rows, from a column on.
  @inline(__always)
  func panel(row: Int, column: Int) -> UnsafePointer<Float> {
    UnsafePointer(panels + row &* roundedToVector(columns) + column &* min(NativeProduct.blockRows, rows &- row))
  }
}

/// The right factor of several products, copied once into the order in which they read it.
///
/// If each product packed the factor itself, that would take an eighth of its time with 256 rows on the left (AVX-512).
public struct PackedFactor {
  let panels: UnsafeMutablePointer<Float>
  /// The precision of the products that read it.
  let precision: Precision
  private let source: Matrix
  private let order: MatrixProduct.Order
  private let (rows, columns): (Int, Int)

  /// The floats of memory for a packed weight; 0 if products do not read packed factors.
  public static func count(outputs: Int, inputs: Int, _ precision: Precision) -> Int {
    guard precision == .bfloat16 || MatrixProduct.backend == .native else { return 0 }
    return max(
      precision.floats(inputs) * roundedToVector(outputs), precision.floats(outputs) * roundedToVector(inputs))
  }

  /// Wᵀ for y = x·Wᵀ, with W of shape (outputs, inputs).
  public init(forward weight: Matrix, outputs: Int, _ precision: Precision, at memory: UnsafeMutablePointer<Float>) {
    (panels, source, order, rows, columns) = (memory, weight, .transposed, weight.columns, outputs)
    self.precision = precision
  }

  /// W for dx = dy·W.
  public init(back weight: Matrix, outputs: Int, _ precision: Precision, at memory: UnsafeMutablePointer<Float>) {
    (panels, source, order, rows, columns) = (memory, weight, .plain, outputs, weight.columns)
    self.precision = precision
  }

  /// Packs one of several parts of the weight's current values.
  public func pack(_ index: Int, of parts: Int) {
    switch precision {
    case .float32: pack(FloatElement.self, index, of: parts)
    case .bfloat16:
      switch BFloat16Path.current {
      case .instructions: pack(BFloat16Instructions.self, index, of: parts)
      case .emulated: pack(BFloat16Emulation.self, index, of: parts)
      }
    }
  }

  private func pack<Element: ProductElement>(_: Element.Type, _ index: Int, of parts: Int) {
    let range = part(index, of: parts, count: columns, unit: NativeProduct.width)
    guard !range.isEmpty else { return }
    let block = NativeProduct.blockRows * Element.depth
    for first in stride(from: 0, to: rows, by: block) {
      let depth = min(block, rows - first)
      NativeProduct.packBlock(
        Element.self, source, order, rows: first..<first + depth, columns: range,
        into: UnsafeMutablePointer(mutating: panel(row: first, column: range.lowerBound)))
    }
  }

  /// The panels of a block of rows, from a column on.
  @inline(__always)
  func panel(row: Int, column: Int) -> UnsafePointer<Float> {
    let first = precision.floats(row)
    let depth = min(NativeProduct.blockRows, precision.floats(rows) &- first)
    return UnsafePointer(panels + first &* roundedToVector(columns) + column &* depth)
  }
}

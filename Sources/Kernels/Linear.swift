// y = x·Wᵀ + b, with W stored as PyTorch does: (outputs, inputs). Rows are tokens or samples.

/// A layer's parameters.
public struct LinearParameters {
  let weight: Matrix
  let bias: UnsafePointer<Float>?
  let precision: Precision
  let packed: PackedFactor?

  /// - Parameters:
  ///   - weight: of shape (outputs, inputs).
  ///   - precision: of its products' factors.
  ///   - packed: the weight, packed for that precision and the direction in which the layer is used; nil: not packed.
  public init(
    weight: Matrix, bias: UnsafePointer<Float>?, _ precision: Precision = .float32, packed: PackedFactor? = nil
  ) {
    self.weight = weight
    self.bias = bias
    self.precision = precision
    self.packed = packed
  }

  var base: ProductBase { bias.map { .row($0) } ?? .zero }
}

/// Columns `outputs` of y, for some rows.
public func linearForward(
  _ x: Matrix, _ layer: LinearParameters, into y: Matrix, rows: Range<Int>, outputs: Range<Int>
) {
  MatrixProduct.multiply(
    x.from(rows.lowerBound), .plain, layer.weight.from(outputs.lowerBound), .transposed,
    into: y.columns(outputs).from(rows.lowerBound), m: rows.count, n: outputs.count, k: x.columns,
    base: layer.base.from(outputs.lowerBound), precision: layer.precision,
    packed: outputs.count == y.columns ? layer.packed : nil)
}

/// Columns `inputs` of dx (+)= dy·W, for some rows.
public func linearInputBackward(
  dy: Matrix, _ layer: LinearParameters, dx: GradientTarget, rows: Range<Int>, inputs: Range<Int>
) {
  MatrixProduct.multiply(
    dy.from(rows.lowerBound), .plain, layer.weight.columns(inputs), .plain,
    into: dx.matrix.columns(inputs).from(rows.lowerBound), m: rows.count, n: inputs.count, k: dy.columns,
    base: dx.productBase, precision: layer.precision, packed: inputs.count == dx.matrix.columns ? layer.packed : nil)
}

/// Rows `outputs` and columns `inputs` of dW (+)= dyᵀ·x, over all rows.
///
/// - Parameter isKept: whether x is kept in `keptColumns`; then `inputs` begins with an even column.
public func linearWeightBackward(
  _ x: Matrix, dy: Matrix, dWeight: GradientTarget, rows: Int, outputs: Range<Int>, inputs: Range<Int>,
  _ precision: Precision = .float32, isKept: Bool = false
) {
  let columns =
    isKept ? precision.keptColumns(inputs.lowerBound)..<precision.keptColumns(inputs.upperBound) : inputs
  MatrixProduct.multiply(
    dy.columns(outputs), .transposed, x.columns(columns), .plain,
    into: dWeight.matrix.columns(inputs).from(outputs.lowerBound), m: outputs.count, n: inputs.count, k: rows,
    base: dWeight.productBase, precision: precision, kept: isKept && precision == .bfloat16 ? .right : nil)
}

/// Entries `outputs` of db (+)= Σ dy, over all rows.
public func linearBiasBackward(dy: Matrix, dBias: GradientTarget, rows: Int, outputs: Range<Int>) {
  columnSums(
    dy.columns(outputs), into: dBias.matrix.base + outputs.lowerBound, accumulates: dBias.accumulates, rows: 0..<rows)
}

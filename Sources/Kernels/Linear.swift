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

/// The rows of an output whose sums are in scratch memory at a time, before they are rounded.
///
/// Twice as many take no less time.
let sumRows = 128

/// The floats of scratch memory that a product needs for outputs of some precision.
public func linearScratch(outputs: Int, _ precision: Precision) -> Int {
  precision == .bfloat16 ? sumRows * outputs : 0
}

/// Columns `outputs` of y, for some rows.
///
/// - Parameters:
///   - x: float32, or bfloat16 if the layer's products are.
///   - y: likewise; in bfloat16 `outputs` are all columns.
///   - scratch: room for `linearScratch` floats; nil only if y is float32.
public func linearForward(
  _ x: Matrix, _ layer: LinearParameters, into y: Matrix, rows: Range<Int>, outputs: Range<Int>,
  scratch: UnsafeMutablePointer<Float>? = nil
) {
  multiply(into: y, rows: rows, columns: outputs, scratch: scratch) { rows, sums, finish in
    MatrixProduct.multiply(
      x.from(rows.lowerBound), .plain, layer.weight.from(outputs.lowerBound), .transposed, into: sums, m: rows.count,
      n: outputs.count, k: x.columns, base: layer.base.from(outputs.lowerBound), precision: layer.precision,
      packed: outputs.count == y.columns ? layer.packed : nil, finish: finish)
  }
}

/// Columns `inputs` of dx (+)= dy·W, for some rows.
///
/// - Parameters:
///   - dy: float32, or bfloat16 if the layer's products are.
///   - dx: likewise; in bfloat16 `inputs` are all columns.
///   - scratch: room for `linearScratch` floats, with the inputs for outputs; nil only if dx is float32.
public func linearInputBackward(
  dy: Matrix, _ layer: LinearParameters, dx: GradientTarget, rows: Range<Int>, inputs: Range<Int>,
  scratch: UnsafeMutablePointer<Float>? = nil
) {
  multiply(into: dx.matrix, rows: rows, columns: inputs, scratch: scratch) { rows, sums, finish in
    MatrixProduct.multiply(
      dy.from(rows.lowerBound), .plain, layer.weight.columns(inputs), .plain, into: sums, m: rows.count,
      n: inputs.count, k: dy.columns, base: dx.productBase, precision: layer.precision,
      packed: inputs.count == dx.matrix.columns ? layer.packed : nil, finish: finish)
  }
}

/// Computes a product for some rows and columns of y, in blocks of rows if its sums are to be rounded.
private func multiply(
  into y: Matrix, rows: Range<Int>, columns: Range<Int>, scratch: UnsafeMutablePointer<Float>?,
  _ product: (_ rows: Range<Int>, _ sums: Matrix, _ finish: (Range<Int>, Range<Int>) -> Void) -> Void
) {
  guard y.precision == .bfloat16 else {
    return product(rows, y.columns(columns).from(rows.lowerBound)) { _, _ in }
  }
  guard let scratch, columns.count == y.columns else { preconditionFailure("rows are rounded as a whole") }
  let sums = Matrix(scratch, columns: y.columns)
  forEachBlock(of: rows, size: sumRows) { rows in
    let y = y.from(rows.lowerBound)
    product(rows, sums) { y.set(sums, rows: $0, columns: $1) }
  }
}

/// Rows `outputs` and columns `inputs` of dW (+)= dyᵀ·x, over all rows.
///
/// - Parameters:
///   - x: float32, or bfloat16 if `precision` is.
///   - dy: likewise.
public func linearWeightBackward(
  _ x: Matrix, dy: Matrix, dWeight: GradientTarget, rows: Int, outputs: Range<Int>, inputs: Range<Int>,
  _ precision: Precision = .float32
) {
  MatrixProduct.multiply(
    dy.columns(outputs), .transposed, x.columns(inputs), .plain,
    into: dWeight.matrix.columns(inputs).from(outputs.lowerBound), m: outputs.count, n: inputs.count, k: rows,
    base: dWeight.productBase, precision: precision)
}

/// Entries `outputs` of db (+)= Σ dy, over all rows. dy is of either precision.
public func linearBiasBackward(dy: Matrix, dBias: GradientTarget, rows: Int, outputs: Range<Int>) {
  columnSums(
    dy.columns(outputs), into: dBias.matrix.base + outputs.lowerBound, accumulates: dBias.accumulates, rows: 0..<rows)
}

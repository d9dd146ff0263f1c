// y = x·Wᵀ + b, with W stored as PyTorch does: (outputs, inputs). Rows are tokens or samples.

/// Columns `outputs` of y, for some rows.
public func linearForward(
  _ x: Matrix, weight: Matrix, bias: UnsafePointer<Float>?, into y: Matrix, rows: Range<Int>, outputs: Range<Int>
) {
  MatrixProduct.multiply(
    x.from(rows.lowerBound), .plain, weight.from(outputs.lowerBound), .transposed,
    into: y.columns(outputs).from(rows.lowerBound), m: rows.count, n: outputs.count, k: x.columns,
    base: bias.map { .row($0 + outputs.lowerBound) } ?? .zero)
}

/// Columns `inputs` of dx (+)= dy·W, for some rows.
public func linearInputBackward(
  dy: Matrix, weight: Matrix, dx: GradientTarget, rows: Range<Int>, inputs: Range<Int>
) {
  MatrixProduct.multiply(
    dy.from(rows.lowerBound), .plain, weight.columns(inputs), .plain,
    into: dx.matrix.columns(inputs).from(rows.lowerBound),
    m: rows.count, n: inputs.count, k: dy.columns, base: dx.productBase)
}

/// Rows `outputs` of dW (+)= dyᵀ·x, and these entries of db (+)= Σ dy; over all rows.
public func linearParametersBackward(
  _ x: Matrix, dy: Matrix, dWeight: GradientTarget, dBias: UnsafeMutablePointer<Float>?, rows: Int,
  outputs: Range<Int>
) {
  let dy = dy.columns(outputs)
  MatrixProduct.multiply(
    dy, .transposed, x, .plain, into: dWeight.matrix.from(outputs.lowerBound), m: outputs.count, n: x.columns, k: rows,
    base: dWeight.productBase)
  if let dBias {
    columnSums(dy, into: dBias + outputs.lowerBound, accumulates: dWeight.accumulates, rows: 0..<rows)
  }
}

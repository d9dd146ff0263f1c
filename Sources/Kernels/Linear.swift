// y = x·Wᵀ + b, with W stored as PyTorch does: (outputs, inputs). Rows are tokens or samples.

/// Columns `outputs` of y, for some rows.
public func linearForward(
  _ x: Matrix, weight: Matrix, bias: UnsafePointer<Float>?, into y: Matrix, rows: Range<Int>, outputs: Range<Int>
) {
  let y = y.columns(outputs).from(rows.lowerBound)
  if let bias {
    for r in 0..<rows.count { y.row(r).update(from: bias + outputs.lowerBound, count: outputs.count) }
  }
  MatrixProduct.multiply(
    x.from(rows.lowerBound), .plain, weight.from(outputs.lowerBound), .transposed, into: y, m: rows.count,
    n: outputs.count, k: x.columns, accumulates: bias != nil)
}

/// Columns `inputs` of dx (+)= dy·W, for some rows.
public func linearInputBackward(
  dy: Matrix, weight: Matrix, dx: GradientTarget, rows: Range<Int>, inputs: Range<Int>
) {
  MatrixProduct.multiply(
    dy.from(rows.lowerBound), .plain, weight.columns(inputs), .plain, into: dx.matrix.columns(inputs).from(rows.lowerBound),
    m: rows.count, n: inputs.count, k: dy.columns, accumulates: dx.accumulates)
}

/// Rows `outputs` of dW (+)= dyᵀ·x, and these entries of db (+)= Σ dy; over all rows.
public func linearParametersBackward(
  _ x: Matrix, dy: Matrix, dWeight: GradientTarget, dBias: UnsafeMutablePointer<Float>?, rows: Int,
  outputs: Range<Int>
) {
  let dy = dy.columns(outputs)
  MatrixProduct.multiply(
    dy, .transposed, x, .plain, into: dWeight.matrix.from(outputs.lowerBound), m: outputs.count, n: x.columns, k: rows,
    accumulates: dWeight.accumulates)
  if let dBias {
    columnSums(dy, into: dBias + outputs.lowerBound, accumulates: dWeight.accumulates, rows: 0..<rows)
  }
}

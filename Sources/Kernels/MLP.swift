// y = GELU(x·W₁ᵀ + b₁)·W₂ᵀ + b₂, the multilayer perceptron of a transformer block. Rows are tokens.
//
// Its inner tensors are the widest of a block. So GELU is applied to rows of the first product as soon as they are
// computed, and in the backward pass its output replaces its input.

/// The rows for which the hidden layer's output is kept at a time.
private let blockRows = 256

/// The floats of scratch memory that `mlpForward` needs.
public func mlpScratch(hidden: Int) -> Int { blockRows * hidden }

/// y for some rows.
///
/// - Parameters:
///   - u: receives the input of GELU.
///   - scratch: room for `mlpScratch` floats.
public func mlpForward(
  _ x: Matrix, _ first: LinearParameters, _ second: LinearParameters, hidden u: Matrix, into y: Matrix,
  rows: Range<Int>, scratch: UnsafeMutablePointer<Float>
) {
  let activated = Matrix(scratch, columns: u.columns)
  var start = rows.lowerBound
  while start < rows.upperBound {
    let count = min(blockRows, rows.upperBound &- start)
    let u = u.from(start)
    MatrixProduct.multiply(
      x.from(start), .plain, first.weight, .transposed, into: u, m: count, n: u.columns, k: x.columns,
      base: first.base, precision: first.precision, packed: first.packed
    ) { rows, columns in geluForward(u.columns(columns), into: activated.columns(columns), rows: rows) }
    MatrixProduct.multiply(
      activated, .plain, second.weight, .transposed, into: y.from(start), m: count, n: y.columns, k: u.columns,
      base: second.base, precision: second.precision, packed: second.packed)
    start &+= count
  }
}

/// The gradients of u and x for some rows.
///
/// - Parameters:
///   - u: from `mlpForward`. Becomes GELU(u), the second layer's input.
///   - du: receives the gradient of u.
public func mlpInputBackward(
  _ first: LinearParameters, _ second: LinearParameters, hidden u: Matrix, dHidden du: Matrix, dy: Matrix,
  dx: GradientTarget?, rows: Range<Int>
) {
  let (u, du) = (u.from(rows.lowerBound), du.from(rows.lowerBound))
  MatrixProduct.multiply(
    dy.from(rows.lowerBound), .plain, second.weight, .plain, into: du, m: rows.count, n: du.columns,
    k: dy.columns, base: .zero, precision: second.precision, packed: second.packed
  ) { rows, columns in geluBackward(u.columns(columns), gradient: du.columns(columns), rows: rows) }
  if let dx {
    MatrixProduct.multiply(
      du, .plain, first.weight, .plain, into: dx.matrix.from(rows.lowerBound), m: rows.count,
      n: dx.matrix.columns, k: du.columns, base: dx.productBase, precision: first.precision, packed: first.packed)
  }
}

// y = GELU(x·W₁ᵀ + b₁)·W₂ᵀ + b₂, the multilayer perceptron of a transformer block. Rows are tokens.
//
// Its inner tensors are the widest of a block. So GELU is applied to rows of the first product as soon as they are
// computed, and in the backward pass its output replaces its input. In bfloat16 both are kept as pairs.

/// The rows for which the hidden layer's output is kept at a time.
private let blockRows = 256

/// The floats of scratch memory that `mlpForward` needs.
public func mlpScratch(hidden: Int, _ precision: Precision = .float32) -> Int {
  blockRows * (precision.keptColumns(hidden) + (precision == .bfloat16 ? hidden : 0))
}

/// y for some rows.
///
/// - Parameters:
///   - u: receives the input of GELU, in `keptColumns` of the layers' precision.
///   - scratch: room for `mlpScratch` floats.
public func mlpForward(
  _ x: Matrix, _ first: LinearParameters, _ second: LinearParameters, hidden u: Matrix, into y: Matrix,
  rows: Range<Int>, scratch: UnsafeMutablePointer<Float>
) {
  let (isKept, hidden) = (first.precision == .bfloat16, second.weight.columns)
  let activated = Matrix(scratch, columns: u.columns)
  let sums = Matrix(scratch + blockRows &* u.columns, columns: hidden)
  var start = rows.lowerBound
  while start < rows.upperBound {
    let count = min(blockRows, rows.upperBound &- start)
    let u = u.from(start)
    MatrixProduct.multiply(
      x.from(start), .plain, first.weight, .transposed, into: isKept ? sums : u, m: count, n: hidden, k: x.columns,
      base: first.base, precision: first.precision, packed: first.packed
    ) { rows, columns in
      if isKept {
        keptGELUForward(sums, kept: u, into: activated, rows: rows, columns: columns)
      } else {
        geluForward(u.columns(columns), into: activated.columns(columns), rows: rows)
      }
    }
    MatrixProduct.multiply(
      activated, .plain, second.weight, .transposed, into: y.from(start), m: count, n: y.columns, k: hidden,
      base: second.base, precision: second.precision, kept: isKept ? .left : nil, packed: second.packed)
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
  ) { rows, columns in
    if second.precision == .bfloat16 {
      keptGELUBackward(kept: u, gradient: du, rows: rows, columns: columns)
    } else {
      geluBackward(u.columns(columns), gradient: du.columns(columns), rows: rows)
    }
  }
  if let dx {
    MatrixProduct.multiply(
      du, .plain, first.weight, .plain, into: dx.matrix.from(rows.lowerBound), m: rows.count,
      n: dx.matrix.columns, k: du.columns, base: dx.productBase, precision: first.precision, packed: first.packed)
  }
}

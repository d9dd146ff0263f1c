// y = GELU(x·W₁ᵀ + b₁)·W₂ᵀ + b₂, the multilayer perceptron of a transformer block. Rows are tokens.
//
// Its inner tensors are the widest of a block. So GELU is applied to rows of the first product as soon as they are
// computed, and in the backward pass its output replaces its input. In bfloat16 both are stored as such, and so is the
// gradient of the input.

/// The rows for which the hidden layer's output is in scratch memory at a time.
private func blockRows(_ precision: Precision) -> Int { precision == .float32 ? 256 : sumRows }

/// The floats of scratch memory that either pass needs.
public func mlpScratch(hidden: Int, outputs: Int, _ precision: Precision = .float32) -> Int {
  blockRows(precision) * (precision.floats(hidden) + (precision == .bfloat16 ? max(hidden, outputs) : 0))
}

/// y for some rows.
///
/// - Parameters:
///   - x: float32, or bfloat16 if the layers' products are.
///   - u: receives the input of GELU, in the precision of the layers' products.
///   - y: as x.
///   - scratch: room for `mlpScratch` floats.
public func mlpForward(
  _ x: Matrix, _ first: LinearParameters, _ second: LinearParameters, hidden u: Matrix, into y: Matrix,
  rows: Range<Int>, scratch: UnsafeMutablePointer<Float>
) {
  let (block, activated) = (blockRows(u.precision), Matrix(scratch, columns: u.columns, u.precision))
  func sums(of matrix: Matrix) -> Matrix {
    matrix.precision == .float32 ? matrix : Matrix(scratch + block &* activated.width, columns: matrix.columns)
  }
  forEachBlock(of: rows, size: block) { rows in
    let (u, y) = (u.from(rows.lowerBound), y.from(rows.lowerBound))
    let (inner, outer) = (sums(of: u), sums(of: y))
    MatrixProduct.multiply(
      x.from(rows.lowerBound), .plain, first.weight, .transposed, into: inner, m: rows.count, n: u.columns,
      k: x.columns, base: first.base, precision: first.precision, packed: first.packed
    ) { rows, columns in
      if u.precision == .bfloat16 {
        roundedGELUForward(inner, rounded: u, into: activated, rows: rows, columns: columns)
      } else {
        geluForward(u.columns(columns), into: activated.columns(columns), rows: rows)
      }
    }
    MatrixProduct.multiply(
      activated, .plain, second.weight, .transposed, into: outer, m: rows.count, n: y.columns, k: u.columns,
      base: second.base, precision: second.precision, packed: second.packed
    ) { rows, columns in
      if y.precision == .bfloat16 { y.set(outer, rows: rows, columns: columns) }
    }
  }
}

/// The gradients of u and x for some rows.
///
/// - Parameters:
///   - u: from `mlpForward`. Becomes GELU(u), the second layer's input.
///   - du: receives the gradient of u, in the precision of u.
///   - scratch: room for `mlpScratch` floats.
public func mlpInputBackward(
  _ first: LinearParameters, _ second: LinearParameters, hidden u: Matrix, dHidden du: Matrix, dy: Matrix,
  dx: GradientTarget?, rows: Range<Int>, scratch: UnsafeMutablePointer<Float>
) {
  func multiply(_ rows: Range<Int>, into sums: Matrix, finish: (Range<Int>, Range<Int>) -> Void) {
    MatrixProduct.multiply(
      dy.from(rows.lowerBound), .plain, second.weight, .plain, into: sums, m: rows.count, n: du.columns, k: dy.columns,
      base: .zero, precision: second.precision, packed: second.packed, finish: finish)
  }
  if du.precision == .float32 {
    let (u, du) = (u.from(rows.lowerBound), du.from(rows.lowerBound))
    multiply(rows, into: du) { geluBackward(u.columns($1), gradient: du.columns($1), rows: $0) }
  } else {
    let sums = Matrix(scratch, columns: du.columns)
    forEachBlock(of: rows, size: sumRows) { rows in
      let (u, du) = (u.from(rows.lowerBound), du.from(rows.lowerBound))
      multiply(rows, into: sums) {
        roundedGELUBackward(rounded: u, gradient: sums, into: du, rows: $0, columns: $1)
      }
    }
  }
  if let dx {
    MatrixProduct.multiply(
      du.from(rows.lowerBound), .plain, first.weight, .plain, into: dx.matrix.from(rows.lowerBound), m: rows.count,
      n: dx.matrix.columns, k: du.columns, base: dx.productBase, precision: first.precision, packed: first.packed)
  }
}

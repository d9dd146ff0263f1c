// GELU(u) = ½u(1 + tanh(√(2/π)(u + 0.044715u³))) = u·σ(2√(2/π)(u + 0.044715u³)), the form that DiT uses.
// Hendrycks and Gimpel 2016.

/// y = GELU(u) for some rows.
public func geluForward(_ u: Matrix, into y: Matrix, rows: Range<Int>) {
  for r in rows {
    let (u, result) = (u.row(r), y.row(r))
    forEachVector(y.columns) { i, n in store(gelu(load(u + i, n)), result + i, n) }
  }
}

/// For some rows: replaces `gradient`, which is dy, by du = dy·GELU'(u), and u by y = GELU(u).
public func geluBackward(_ u: Matrix, gradient: Matrix, rows: Range<Int>) {
  for r in rows {
    let (value, gradient) = (u.row(r), gradient.row(r))
    @inline(__always)
    func compute(_ i: Int, _ n: Int) {
      let (y, derivative) = geluWithDerivative(load(value + i, n))
      store(y, value + i, n)
      store(load(gradient + i, n) * derivative, gradient + i, n)
    }
    forEachVector(u.columns, compute)
  }
}

/// GELU(u) and GELU'(u).
@inline(__always)
func geluWithDerivative(_ u: Vector) -> (value: Vector, derivative: Vector) {
  let s = logistic(doubledArgument(u))
  let slope = splat(2 * 0.797_884_56).addingProduct(u * u, splat(2 * 0.797_884_56 * 3 * 0.044715))
  let y = u * s
  return (y, s.addingProduct(y * slope, splat(1) - s))
}

@inline(__always)
func gelu(_ u: Vector) -> Vector { u * logistic(doubledArgument(u)) }

/// Twice the argument of tanh.
@inline(__always)
private func doubledArgument(_ u: Vector) -> Vector {
  u * splat(2 * 0.797_884_56).addingProduct(u * u, splat(2 * 0.797_884_56 * 0.044715))
}

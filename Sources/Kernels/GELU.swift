// GELU(u) = ½u(1 + tanh(√(2/π)(u + 0.044715u³))) = u·σ(2√(2/π)(u + 0.044715u³)), the form that DiT uses.
// Hendrycks and Gimpel 2016.

/// y = GELU(u) for some rows.
public func geluForward(_ u: Matrix, into y: Matrix, rows: Range<Int>) {
  for r in rows {
    let (u, result) = (u.row(r), y.row(r))
    @inline(__always)
    func compute(_ i: Int, _ n: Int) {
      let u = load(u + i, n)
      store(u * logistic(doubledArgument(u)), result + i, n)
    }
    forEachVector(y.columns, compute)
  }
}

/// du (+)= dy·GELU'(u) for some rows.
public func geluBackward(_ u: Matrix, dy: Matrix, du: GradientTarget, rows: Range<Int>) {
  for r in rows {
    let (u, dy, result) = (u.row(r), dy.row(r), du.matrix.row(r))
    @inline(__always)
    func compute(_ i: Int, _ n: Int) {
      let u = load(u + i, n)
      let s = logistic(doubledArgument(u))
      let slope = splat(2 * 0.797_884_56).addingProduct(u * u, splat(2 * 0.797_884_56 * 3 * 0.044715))
      let derivative = s.addingProduct(u * slope, s - s * s)
      store(load(dy + i, n) * derivative, result + i, n, adding: du.accumulates)
    }
    forEachVector(du.matrix.columns, compute)
  }
}

/// Twice the argument of tanh.
@inline(__always)
private func doubledArgument(_ u: Vector) -> Vector {
  u * splat(2 * 0.797_884_56).addingProduct(u * u, splat(2 * 0.797_884_56 * 0.044715))
}

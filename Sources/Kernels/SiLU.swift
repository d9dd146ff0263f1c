// SiLU(x) = x·σ(x), also called swish.

/// y = SiLU(x) for some rows.
public func siluForward(_ x: Matrix, into y: Matrix, rows: Range<Int>) {
  for r in rows {
    let (x, result) = (x.row(r), y.row(r))
    forEachVector(y.columns) { i, n in store(silu(load(x + i, n)), result + i, n) }
  }
}

/// dx (+)= dy·SiLU'(x) for some rows.
public func siluBackward(_ x: Matrix, dy: Matrix, dx: GradientTarget, rows: Range<Int>) {
  for r in rows {
    let (x, dy, result) = (x.row(r), dy.row(r), dx.matrix.row(r))
    @inline(__always)
    func compute(_ i: Int, _ n: Int) {
      let x = load(x + i, n)
      let s = logistic(x)
      let derivative = s.addingProduct(x, s - s * s)
      store(load(dy + i, n) * derivative, result + i, n, adding: dx.accumulates)
    }
    forEachVector(dx.matrix.columns, compute)
  }
}

@inline(__always)
private func silu(_ x: Vector) -> Vector { x * logistic(x) }

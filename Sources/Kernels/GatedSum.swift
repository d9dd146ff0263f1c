// The residual connection of adaLN-Zero: y = x + gate·h. Each row is a token; gate has one row per sample. h is of either
// precision.

/// y for some samples of `length` rows each.
public func gatedSumForward(
  _ x: Matrix, gate: Matrix, _ h: Matrix, into y: Matrix, length: Int, rows: Range<Int>
) {
  for r in rows {
    let (x, gate, result) = (x.row(r), gate.row(r / length), y.row(r))
    forEachVector(h.columns) { i, n in
      store(load(x + i, n).addingProduct(load(gate + i, n), h.numbers(r, i, n)), result + i, n)
    }
  }
}

/// dh (+)= gate·dy and dGate (+)= Σ dy·h over the tokens of some whole samples. The gradient of x is dy itself.
///
/// - Parameter dh: of either precision; it accumulates only in float32.
public func gatedSumBackward(
  gate: Matrix, _ h: Matrix, dy: Matrix, dh: GradientTarget?, dGate: GradientTarget?, length: Int,
  samples: Range<Int>
) {
  for sample in samples {
    let (gate, dGateRow) = (gate.row(sample), dGate?.startedRow(sample))
    for r in (sample &* length)..<((sample &+ 1) &* length) {
      let dy = dy.row(r)
      @inline(__always)
      func compute(_ i: Int, _ n: Int) {
        let dy = load(dy + i, n)
        if let dGateRow { store(load(dGateRow + i, n).addingProduct(dy, h.numbers(r, i, n)), dGateRow + i, n) }
        if let dh, dh.matrix.precision == .float32 {
          store(load(gate + i, n) * dy, dh.matrix.row(r) + i, n, adding: dh.accumulates)
        }
      }
      forEachVector(h.columns, compute)
      if let dh, dh.matrix.precision == .bfloat16 { dh.matrix.set(r) { i, n in load(gate + i, n) * load(dy + i, n) } }
    }
  }
}

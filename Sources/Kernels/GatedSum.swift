// The residual connection of adaLN-Zero: y = x + gate·h. Each row is a token; gate has one row per sample.

/// y for some samples of `length` rows each.
public func gatedSumForward(
  _ x: Matrix, gate: Matrix, _ h: Matrix, into y: Matrix, length: Int, rows: Range<Int>
) {
  for r in rows {
    let (x, gate, row, result) = (x.row(r), gate.row(r / length), h.row(r), y.row(r))
    forEachVector(h.columns) { i, n in
      store(load(x + i, n).addingProduct(load(gate + i, n), load(row + i, n)), result + i, n)
    }
  }
}

/// dh (+)= gate·dy and dGate (+)= Σ dy·h over the tokens of some whole samples. The gradient of x is dy itself.
public func gatedSumBackward(
  gate: Matrix, _ h: Matrix, dy: Matrix, dh: GradientTarget?, dGate: GradientTarget?, length: Int,
  samples: Range<Int>
) {
  for sample in samples {
    let (gate, dGateRow) = (gate.row(sample), dGate?.startedRow(sample))
    for r in (sample &* length)..<((sample &+ 1) &* length) {
      let (row, dy) = (h.row(r), dy.row(r))
      @inline(__always)
      func compute(_ i: Int, _ n: Int) {
        let dy = load(dy + i, n)
        if let dGateRow { store(load(dGateRow + i, n).addingProduct(dy, load(row + i, n)), dGateRow + i, n) }
        if let dh { store(load(gate + i, n) * dy, dh.matrix.row(r) + i, n, adding: dh.accumulates) }
      }
      forEachVector(h.columns, compute)
    }
  }
}

// GELU on rows that are kept as pairs of bfloat16. The gradient is float32.

/// For some rows and columns: keeps u, rounded, in `kept`, and y = GELU of that in `y`.
func keptGELUForward(_ u: Matrix, kept: Matrix, into y: Matrix, rows: Range<Int>, columns: Range<Int>) {
  switch BFloat16Path.current {
  case .instructions: forward(BFloat16Instructions.self, u, kept, y, rows, columns)
  case .emulated: forward(BFloat16Emulation.self, u, kept, y, rows, columns)
  }
}

/// For some rows and columns: replaces `gradient`, which is dy, by dy·GELU'(u), and u, which is kept, by y = GELU(u).
func keptGELUBackward(kept: Matrix, gradient: Matrix, rows: Range<Int>, columns: Range<Int>) {
  switch BFloat16Path.current {
  case .instructions: backward(BFloat16Instructions.self, kept, gradient, rows, columns)
  case .emulated: backward(BFloat16Emulation.self, kept, gradient, rows, columns)
  }
}

private func forward<Pairs: BFloat16Pairs>(
  _: Pairs.Type, _ u: Matrix, _ kept: Matrix, _ y: Matrix, _ rows: Range<Int>, _ columns: Range<Int>
) {
  for r in rows {
    let first = columns.lowerBound / Pairs.depth
    let (u, kept, y) = (u.row(r) + columns.lowerBound, kept.row(r) + first, y.row(r) + first)
    @inline(__always)
    func compute(_ i: Int, _ n: Int) {
      let pairs = Pairs.along(u + i &* Pairs.depth, min(lanes &* Pairs.depth, columns.count &- i &* Pairs.depth))
      let (low, high) = Pairs.floats(pairs)
      store(pairs, kept + i, n)
      store(Pairs.pairs(gelu(low), gelu(high)), y + i, n)
    }
    forEachVector(Pairs.count(columns.count), compute)
  }
}

private func backward<Pairs: BFloat16Pairs>(
  _: Pairs.Type, _ kept: Matrix, _ gradient: Matrix, _ rows: Range<Int>, _ columns: Range<Int>
) {
  for r in rows {
    let kept = kept.row(r) + columns.lowerBound / Pairs.depth
    let gradient = gradient.row(r) + columns.lowerBound
    @inline(__always)
    func compute(_ i: Int, _ n: Int) {
      let (low, high) = Pairs.floats(load(kept + i, n))
      let (first, second) = (geluWithDerivative(low), geluWithDerivative(high))
      store(Pairs.pairs(first.value, second.value), kept + i, n)
      @inline(__always)
      func scale(_ offset: Int, _ derivative: Vector) {
        let (place, rest) = (gradient + offset, min(lanes, columns.count &- offset))
        if rest > 0 { store(load(place, rest) * derivative, place, rest) }
      }
      scale(i &* Pairs.depth, first.derivative)
      scale(i &* Pairs.depth &+ lanes, second.derivative)
    }
    forEachVector(Pairs.count(columns.count), compute)
  }
}

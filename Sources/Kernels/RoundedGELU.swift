// GELU on rows of bfloat16.

/// For some rows and columns: stores u, rounded, in `rounded`, and y = GELU of that in `y`.
func roundedGELUForward(_ u: Matrix, rounded: Matrix, into y: Matrix, rows: Range<Int>, columns: Range<Int>) {
  let (u, rounded, y) = (u.columns(columns), rounded.columns(columns), y.columns(columns))
  switch BFloat16Path.current {
  case .instructions: forward(BFloat16Instructions.self, u, rounded, y, rows)
  case .emulated: forward(BFloat16Emulation.self, u, rounded, y, rows)
  }
}

/// For some rows and columns: du = dy·GELU'(u), and u, which is `rounded`, becomes y = GELU(u).
///
/// - Parameter gradient: dy, as floats.
func roundedGELUBackward(
  rounded: Matrix, gradient: Matrix, into du: Matrix, rows: Range<Int>, columns: Range<Int>
) {
  let (rounded, gradient, du) = (rounded.columns(columns), gradient.columns(columns), du.columns(columns))
  switch BFloat16Path.current {
  case .instructions: backward(BFloat16Instructions.self, rounded, gradient, du, rows)
  case .emulated: backward(BFloat16Emulation.self, rounded, gradient, du, rows)
  }
}

private func forward<Pairs: BFloat16Pairs>(
  _: Pairs.Type, _ u: Matrix, _ rounded: Matrix, _ y: Matrix, _ rows: Range<Int>
) {
  for r in rows {
    let (row, rounded, y) = (u.row(r), rounded.row(r), y.row(r))
    @inline(__always)
    func compute(_ i: Int, _ n: Int) {
      let pairs = Pairs.along(row + i &* Pairs.depth, min(lanes &* Pairs.depth, u.columns &- i &* Pairs.depth))
      let (low, high) = Pairs.floats(pairs)
      store(pairs, rounded + i, n)
      store(Pairs.pairs(gelu(low), gelu(high)), y + i, n)
    }
    forEachVector(Pairs.count(u.columns), compute)
  }
}

private func backward<Pairs: BFloat16Pairs>(
  _: Pairs.Type, _ rounded: Matrix, _ gradient: Matrix, _ du: Matrix, _ rows: Range<Int>
) {
  for r in rows {
    let (rounded, row, du) = (rounded.row(r), gradient.row(r), du.row(r))
    @inline(__always)
    func compute(_ i: Int, _ n: Int) {
      let (low, high) = Pairs.floats(load(rounded + i, n))
      let (first, second) = (geluWithDerivative(low), geluWithDerivative(high))
      store(Pairs.pairs(first.value, second.value), rounded + i, n)
      @inline(__always)
      func scaled(_ offset: Int, _ derivative: Vector) -> Vector {
        let rest = min(lanes, gradient.columns &- offset)
        return rest > 0 ? load(row + offset, rest) * derivative : .zero
      }
      let place = i &* Pairs.depth
      store(Pairs.pairs(scaled(place, first.derivative), scaled(place &+ lanes, second.derivative)), du + i, n)
    }
    forEachVector(Pairs.count(gradient.columns), compute)
  }
}

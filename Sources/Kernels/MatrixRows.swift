// Reading and writing rows of either precision, for kernels that take both.

extension Matrix {
  /// Up to sixteen numbers of a row, padded with zeros. In bfloat16 they begin with an even column.
  @inline(__always)
  func numbers(_ row: Int, _ column: Int, _ count: Int) -> Vector {
    let place = self.row(row) + precision.floats(column)
    if precision == .float32 { return load(place, count) }
    let pairs = halves(place, count)
    var result = SIMD16<UInt32>()
    result.evenHalf = pairs &<< SIMD8(repeating: 16)
    result.oddHalf = pairs & SIMD8(repeating: 0xFFFF_0000)
    return unsafeBitCast(result, to: Vector.self)
  }

  /// Sets all columns of a row to `value(column, count)`, which is called for each vector of them.
  @inline(__always)
  func set(_ row: Int, _ value: (_ column: Int, _ count: Int) -> Vector) {
    let row = self.row(row)
    guard precision == .bfloat16 else { return forEachVector(columns) { i, n in store(value(i, n), row + i, n) } }
    switch BFloat16Path.current {
    case .instructions: setPairs(BFloat16Instructions.self, row, value)
    case .emulated: setPairs(BFloat16Emulation.self, row, value)
    }
  }

  /// Copies rows and columns of floats, as this matrix's precision stores them.
  func set(_ floats: Matrix, rows: Range<Int>, columns: Range<Int>) {
    let (from, to) = (floats.columns(columns), self.columns(columns))
    for r in rows { to.set(r) { i, n in load(from.row(r) + i, n) } }
  }

  /// Whether all numbers of a row are finite.
  public func isFinite(_ row: Int) -> Bool {
    var isFinite = true
    forEachVector(columns) { i, n in
      let numbers = numbers(row, i, n)
      for lane in 0..<n where !numbers[lane].isFinite { isFinite = false }
    }
    return isFinite
  }

  @inline(__always)
  private func setPairs<Pairs: BFloat16Pairs>(
    _: Pairs.Type, _ row: UnsafeMutablePointer<Float>, _ value: (_ column: Int, _ count: Int) -> Vector
  ) {
    var first = 0
    while first &+ 2 &* lanes <= columns {
      store(Pairs.pairs(value(first, lanes), value(first &+ lanes, lanes)), row + Pairs.count(first), lanes)
      first &+= 2 &* lanes
    }
    guard first < columns else { return }
    let (low, high) = (min(lanes, columns &- first), max(0, columns &- first &- lanes))
    let second = high > 0 ? masked(value(first &+ lanes, high), high) : .zero
    store(Pairs.pairs(masked(value(first, low), low), second), row + Pairs.count(first), Pairs.count(low &+ high))
  }
}

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The sinusoidal embedding of timesteps: cos(t·f), then sin(t·f), for f = 10000^(-i/(half-shift)), i < half = columns/2.
///
/// t may be a fraction. An odd last column is 0. Ho et al. 2020; the order of DiT's `TimestepEmbedder`, whose shift is 0.
public func timestepEmbedding(
  _ t: UnsafePointer<Float>, into y: Matrix, frequencyShift: Double = 0, rows: Range<Int>
) {
  let half = y.columns / 2
  for r in rows {
    let row = y.row(r)
    for i in 0..<half {
      // In float, as in PyTorch, where the frequency is rounded before it is multiplied.
      let frequency = Float(exp(-log(10000.0) * Double(i) / (Double(half) - frequencyShift)))
      let angle = Double(t[r] * frequency)
      row[i] = Float(cos(angle))
      row[half + i] = Float(sin(angle))
    }
    if y.columns % 2 == 1 { row[y.columns - 1] = 0 }
  }
}

/// y = table[labels], for some rows.
public func lookupForward(_ labels: UnsafePointer<Int32>, table: Matrix, into y: Matrix, rows: Range<Int>) {
  for r in rows { y.row(r).update(from: table.row(Int(labels[r])), count: table.columns) }
}

/// dTable[labels] += dy over all rows; unless it accumulates, `dTable` is set to 0 first. For one thread.
public func lookupBackward(
  _ labels: UnsafePointer<Int32>, dy: Matrix, dTable: GradientTarget, entries: Int, rows: Range<Int>
) {
  if !dTable.accumulates {
    for entry in 0..<entries { dTable.matrix.row(entry).update(repeating: 0, count: dy.columns) }
  }
  for r in rows {
    let (row, result) = (dy.row(r), dTable.matrix.row(Int(labels[r])))
    forEachVector(dTable.matrix.columns) { i, n in store(load(row + i, n), result + i, n, adding: true) }
  }
}

/// Fixed two-dimensional sine and cosine positions of a square grid, shape (grid², columns), as in the official DiT.
///
/// The first half of the columns embeds the position within a row (x), the second half the row (y); each half has sines,
/// then cosines, of the coordinate times 10000^(-i/(columns/4)). Columns must be a multiple of 4.
public func sineCosinePositions(grid: Int, into y: Matrix) {
  let quarter = y.columns / 4
  for place in 0..<(grid * grid) {
    let row = y.row(place)
    for (half, coordinate) in [place % grid, place / grid].enumerated() {
      for i in 0..<quarter {
        let angle = Double(coordinate) * pow(10000.0, -Double(i) / Double(quarter))
        row[half * 2 * quarter + i] = Float(sin(angle))
        row[half * 2 * quarter + quarter + i] = Float(cos(angle))
      }
    }
  }
}

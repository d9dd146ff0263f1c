/// y = a + b for some rows.
public func sumForward(_ a: Matrix, _ b: Matrix, into y: Matrix, rows: Range<Int>) {
  for r in rows {
    let (first, second, result) = (a.row(r), b.row(r), y.row(r))
    forEachVector(y.columns) { i, n in store(load(first + i, n) + load(second + i, n), result + i, n) }
  }
}

/// dx (+)= dy for some rows: the gradient of each term of a sum.
public func sumBackward(dy: Matrix, dx: GradientTarget, rows: Range<Int>) {
  for r in rows {
    let (row, result) = (dy.row(r), dx.matrix.row(r))
    forEachVector(dy.columns) { i, n in store(load(row + i, n), result + i, n, adding: dx.accumulates) }
  }
}

/// y = x + table for some samples of `length` rows each: row r of a sample gets row r of the table.
public func tableSumForward(_ x: Matrix, table: Matrix, into y: Matrix, length: Int, rows: Range<Int>) {
  for r in rows {
    let (row, place, result) = (x.row(r), table.row(r % length), y.row(r))
    forEachVector(x.columns) { i, n in store(load(row + i, n) + load(place + i, n), result + i, n) }
  }
}

/// Rows `rows` of dTable (+)= Σ over samples of dy, for a table that is trained.
public func tableSumBackward(dy: Matrix, dTable: GradientTarget, length: Int, samples: Int, rows: Range<Int>) {
  for r in rows {
    let result = dTable.startedRow(r)
    for sample in 0..<samples {
      let row = dy.row(sample &* length &+ r)
      forEachVector(dy.columns) { i, n in store(load(row + i, n), result + i, n, adding: true) }
    }
  }
}

/// y = a and b side by side, for some rows.
public func concatenateForward(_ a: Matrix, _ b: Matrix, into y: Matrix, rows: Range<Int>) {
  for r in rows {
    y.row(r).update(from: a.row(r), count: a.columns)
    (y.row(r) + a.columns).update(from: b.row(r), count: b.columns)
  }
}

/// sums (+)= Σ over rows of x, which is of either precision, for the columns of x.
public func columnSums(_ x: Matrix, into sums: UnsafeMutablePointer<Float>, accumulates: Bool, rows: Range<Int>) {
  if !accumulates { sums.update(repeating: 0, count: x.columns) }
  // Sixteen rows at a time: the sums stay in registers while memory is read by cache lines.
  var first = rows.lowerBound
  while first < rows.upperBound {
    let end = min(first &+ 16, rows.upperBound)
    forEachVector(x.columns) { i, n in
      var total = load(sums + i, n)
      var r = first
      while r < end {
        total += x.numbers(r, i, n)
        r &+= 1
      }
      store(total, sums + i, n)
    }
    first = end
  }
}

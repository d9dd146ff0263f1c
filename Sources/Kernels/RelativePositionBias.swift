// A learned number for each head and each offset between two places of a square grid, added to the scores of attention.
// As in BEiT (Bao et al. 2022) and MDT (Gao et al. 2023).

/// The bias of one head over one sample.
///
/// A place's number is y·(2g-1)+x, so that the entry for a query and a key, (g-1)·2g + number(query) - number(key), is a
/// step along the table for each step along a row of the grid.
public struct RelativePositionBias {
  /// Shape ((2g-1)²+3, heads); the last three rows are for class tokens, which are not used.
  let table: Matrix
  let head: Int
  /// g, the places along a side.
  let grid: Int
  /// The place of each token of the sample; nil: tokens are places, row by row.
  let places: UnsafePointer<Int32>?

  /// - Parameters:
  ///   - table: shape (`entries` + 3, heads).
  ///   - places: where each token of the sample stands; nil for all of them in order.
  public init(table: Matrix, head: Int, grid: Int, places: UnsafePointer<Int32>?) {
    self.table = table
    self.head = head
    self.grid = grid
    self.places = places
  }

  /// The offsets between two places: (2g-1)².
  public static func entries(grid: Int) -> Int { (2 * grid - 1) * (2 * grid - 1) }

  private var entries: Int { Self.entries(grid: grid) }

  @inline(__always)
  private func place(_ token: Int) -> Int { places.map { Int($0[token]) } ?? token }

  /// (g-1)·2g - the number of a token's place: where the entries of its row begin.
  @inline(__always)
  fileprivate func start(_ token: Int) -> Int {
    let place = place(token)
    return (grid &- 1) &* 2 &* grid &- (place / grid &* (2 &* grid &- 1) &+ place % grid)
  }

  /// Calls `body` for the columns of a row of scores: the first column, and the numbers of the places from it on.
  @inline(__always)
  fileprivate func forEachRun(_ tokens: Range<Int>, _ body: (_ column: Int, _ number: Int, _ count: Int) -> Void) {
    var token = tokens.lowerBound
    while token < tokens.upperBound {
      let place = place(token)
      // Places that were chosen at random have no runs worth looking for.
      let count = places == nil ? min(grid &- place % grid, tokens.upperBound &- token) : 1
      body(token &- tokens.lowerBound, place / grid &* (2 &* grid &- 1) &+ place % grid, count)
      token &+= count
    }
  }

  /// The head's entries by offset, of a key to the queries of a row.
  @inline(__always)
  func copyEntries(to out: UnsafeMutablePointer<Float>) {
    for i in 0..<entries { out[i] = table.row(i)[head] }
  }

  /// The same backwards: of a query to the keys of a row.
  @inline(__always)
  func copyEntriesReversed(to out: UnsafeMutablePointer<Float>) {
    for i in 0..<entries { out[entries &- 1 &- i] = table.row(i)[head] }
  }

  /// Adds the bias to rows of scores.
  ///
  /// - Parameters:
  ///   - scores: `rows.count` rows, one column for each of `columns`.
  ///   - entries: as copied, reversed where queries are rows.
  @inline(__always)
  func add(to scores: Matrix, rows: Range<Int>, columns: Range<Int>, entries: UnsafePointer<Float>) {
    for token in rows {
      let row = scores.row(token &- rows.lowerBound)
      let start = entries + start(token)
      forEachRun(columns) { column, number, count in
        if count == 1 {
          row[column] += start[number]
        } else {
          forEachVector(count) { i, n in store(load(start + number + i, n), row + column + i, n, adding: true) }
        }
      }
    }
  }

  /// Adds the gradients of scores, of which keys are the rows, to those of the entries.
  ///
  /// - Parameter factor: what the gradients are multiplied by.
  @inline(__always)
  func addGradient(
    of gradients: Matrix, keys: Range<Int>, queries: Range<Int>, factor: Float,
    to entries: UnsafeMutablePointer<Float>
  ) {
    for token in keys {
      let row = gradients.row(token &- keys.lowerBound)
      let start = entries + start(token)
      forEachRun(queries) { column, number, count in
        if count == 1 {
          start[number] += factor * row[column]
        } else {
          forEachVector(count) { i, n in
            store(splat(factor) * load(row + column + i, n), start + number + i, n, adding: true)
          }
        }
      }
    }
  }
}

/// dTable (+)= the sum of all samples' gradients by head and offset, in the table's order.
///
/// - Parameters:
///   - parts: a row for each sample, a head's `RelativePositionBias.entries` after the other's.
///   - dTable: shape (entries + 3, heads).
public func relativePositionBiasBackward(parts: Matrix, dTable: GradientTarget, samples: Int) {
  let heads = dTable.matrix.columns
  let entries = parts.columns / heads
  for entry in 0..<entries &+ 3 {
    let row = dTable.startedRow(entry)
    guard entry < entries else { continue }
    for sample in 0..<samples {
      for head in 0..<heads { row[head] += parts.row(sample)[head &* entries &+ entry] }
    }
  }
}

// A trained bias for each head and each offset between two places of a square grid, added to the attention scores.
// As in BEiT (Bao et al. 2022) and MDT (Gao et al. 2023).

/// The bias of one head over one sample.
///
/// A place's number is y·(2g-1)+x. So the entry for a query and a key, (g-1)·2g + number(query) - number(key), moves by one
/// for each step along a row of the grid.
public struct RelativePositionBias {
  /// Shape ((2g-1)²+3, heads); the last three rows, for class tokens, are not used.
  let table: Matrix
  let head: Int
  /// g, the places along a side.
  let grid: Int
  /// The place of each token of the sample; nil: all places, row by row.
  let places: UnsafePointer<Int32>?

  /// - Parameters:
  ///   - table: shape (`entries` + 3, heads).
  ///   - places: the place of each token of the sample; nil: all places, in order.
  public init(table: Matrix, head: Int, grid: Int, places: UnsafePointer<Int32>?) {
    self.table = table
    self.head = head
    self.grid = grid
    self.places = places
  }

  /// The offsets between two places: (2g-1)².
  public static func entries(grid: Int) -> Int { (2 * grid - 1) * (2 * grid - 1) }

  private var entries: Int { Self.entries(grid: grid) }

  /// The head's entries and its tokens' numbers, copied to scratch memory.
  struct Tables {
    /// The entries by offset, from a key to the queries of a row; or reversed, from a query to the keys of a row.
    let entries: UnsafeMutablePointer<Float>
    let numbers: UnsafeMutablePointer<Int32>
    private let grid: Int
    /// Whether tokens are all places, row by row, with consecutive numbers within a row.
    private let hasRuns: Bool

    /// The floats that tables need.
    static func count(tokens: Int, grid: Int) -> Int { RelativePositionBias.entries(grid: grid) + tokens }

    @inline(__always)
    fileprivate init(_ bias: RelativePositionBias, tokens: Int, reversed: Bool, at base: UnsafeMutablePointer<Float>) {
      (grid, hasRuns) = (bias.grid, bias.places == nil)
      let count = bias.entries
      entries = base
      // Both types have 32 bits.
      numbers = UnsafeMutableRawPointer(base + count).assumingMemoryBound(to: Int32.self)
      for i in 0..<count { entries[reversed ? count &- 1 &- i : i] = bias.table.row(i)[bias.head] }
      for token in 0..<tokens {
        let place = bias.places.map { Int($0[token]) } ?? token
        numbers[token] = Int32(truncatingIfNeeded: place / grid &* (2 &* grid &- 1) &+ place % grid)
      }
    }

    /// (g-1)·2g - the number of a token's place: where the entries of its row start.
    @inline(__always)
    private func start(_ token: Int) -> Int { (grid &- 1) &* 2 &* grid &- Int(numbers[token]) }

    /// Calls `body` for runs of places in a row of the grid with the first column, its number, and the length.
    @inline(__always)
    private func forEachRun(_ tokens: Range<Int>, _ body: (_ column: Int, _ number: Int, _ count: Int) -> Void) {
      var token = tokens.lowerBound
      while token < tokens.upperBound {
        let count = min(grid &- token % grid, tokens.upperBound &- token)
        body(token &- tokens.lowerBound, Int(numbers[token]), count)
        token &+= count
      }
    }

    /// Adds the bias to rows of scores.
    ///
    /// - Parameter scores: `rows.count` rows, one column for each of `columns`.
    @inline(__always)
    func add(to scores: Matrix, rows: Range<Int>, columns: Range<Int>) {
      let numbers = numbers + columns.lowerBound
      for token in rows {
        let row = scores.row(token &- rows.lowerBound)
        let start = entries + start(token)
        if hasRuns {
          forEachRun(columns) { column, number, count in
            forEachVector(count) { i, n in store(load(start + number + i, n), row + column + i, n, adding: true) }
          }
        } else {
          // Places that were chosen at random have no runs worth finding.
          for i in 0..<columns.count { row[i] += start[Int(numbers[i])] }
        }
      }
    }

    /// Adds the gradients of scores, whose rows are keys, to those of the entries.
    ///
    /// - Parameter factor: multiplies the gradients.
    @inline(__always)
    func addGradient(
      of gradients: Matrix, keys: Range<Int>, queries: Range<Int>, factor: Float,
      to entries: UnsafeMutablePointer<Float>
    ) {
      let numbers = numbers + queries.lowerBound
      for token in keys {
        let row = gradients.row(token &- keys.lowerBound)
        let start = entries + start(token)
        if hasRuns {
          forEachRun(queries) { column, number, count in
            forEachVector(count) { i, n in
              store(splat(factor) * load(row + column + i, n), start + number + i, n, adding: true)
            }
          }
        } else {
          for i in 0..<queries.count { start[Int(numbers[i])] += factor * row[i] }
        }
      }
    }
  }

  /// The tables for rows of keys, or reversed for rows of queries.
  @inline(__always)
  func tables(tokens: Int, reversed: Bool, at base: UnsafeMutablePointer<Float>) -> Tables {
    Tables(self, tokens: tokens, reversed: reversed, at: base)
  }
}

/// dTable (+)= the sum over samples of the gradients by head and offset, in the table's order.
///
/// - Parameters:
///   - parts: one row per sample, with `RelativePositionBias.entries` floats per head.
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

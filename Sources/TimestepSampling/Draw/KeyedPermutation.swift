/// A pseudo-random permutation of 0..<count that is a function of its keys, in constant time and memory per value.
///
/// A generalized Feistel network: values are (row, column) of the smallest near-square table that holds `count`, and
/// rounds add a hash of the one to the other, modulo its size. The few values that land outside `count` are sent
/// through it again ("cycle walking"). Twelve rounds leave no bias that 10⁵ permutations show for count > 64; smaller
/// ones keep one, hence `StrataOrder` shuffles few entries exactly. Source: Black and Rogaway, "Ciphers with Arbitrary
/// Finite Domains", 2002.
struct KeyedPermutation {
  typealias Lanes = SIMD16<UInt32>
  private static let rounds = 12

  private let count: UInt32
  private let rows: UInt32
  private let columns: UInt32
  private let keys: SIMD16<UInt32>

  /// Makes the permutation of 0..<count (64 < count ≤ 2³¹) that belongs to one step's stream of keys.
  init(count: Int, stream: RandomStream) {
    self.count = UInt32(count)
    columns = UInt32(Double(count).squareRoot().rounded(.up))
    rows = (self.count + columns - 1) / columns
    var keys = SIMD16<UInt32>()
    for block in 0..<(Self.rounds / 4) {
      let words = stream.block(UInt32(block))
      for word in 0..<4 { keys[4 * block + word] = words[word] }
    }
    self.keys = keys
  }

  /// The values of 16 consecutive places from `first` on. Places beyond `count` get any value.
  @inline(__always)
  func values(from first: UInt32) -> Lanes {
    let (row, column) = first.quotientAndRemainder(dividingBy: columns)
    var place = Place(
      row: Lanes(repeating: row),
      column: Lanes(repeating: column) &+ Lanes(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
    // There are nine columns or more, so that 16 places lie in three rows at most.
    for _ in 0..<2 {
      let isInRow = Self.wrap(&place.column, at: columns)
      place.row = place.row &+ Lanes(repeating: 1) &- isInRow
    }
    pass(&place)
    var values = merge(place)
    for lane in 0..<min(16, Int(count &- min(first, count))) where _slowPath(values[lane] >= count) {
      values[lane] = walk(row: place.row[lane], column: place.column[lane])
    }
    return values
  }

  /// The value of one place.
  func value(at index: UInt32) -> UInt32 {
    let (row, column) = index.quotientAndRemainder(dividingBy: columns)
    return walk(row: row, column: column)
  }

  /// Rows below `rows` and columns below `columns`.
  private struct Place {
    var row: Lanes
    var column: Lanes
  }

  /// Sends one place through the network until it lies below `count`.
  private func walk(row: UInt32, column: UInt32) -> UInt32 {
    var place = Place(row: Lanes(repeating: row), column: Lanes(repeating: column))
    repeat { pass(&place) } while merge(place)[0] >= count
    return merge(place)[0]
  }

  @inline(__always)
  private func merge(_ place: Place) -> Lanes {
    place.row &* Lanes(repeating: columns) &+ place.column
  }

  @inline(__always)
  private func pass(_ place: inout Place) {
    for round in stride(from: 0, to: Self.rounds, by: 2) {
      place.column &+= Self.hash(place.row, key: keys[round], below: columns)
      _ = Self.wrap(&place.column, at: columns)
      place.row &+= Self.hash(place.column, key: keys[round + 1], below: rows)
      _ = Self.wrap(&place.row, at: rows)
    }
  }

  /// Subtracts `size` from the values that have reached it; 1 in the lanes that have not. Values are below 2³¹.
  @inline(__always)
  private static func wrap(_ values: inout Lanes, at size: UInt32) -> Lanes {
    let difference = values &- Lanes(repeating: size)
    let isBelow = difference &>> Lanes(repeating: 31)
    values = difference &+ ((Lanes(repeating: 0) &- isBelow) & Lanes(repeating: size))
    return isBelow
  }

  /// A hash in 0..<bound (bound ≤ 2¹⁶): two multiplications with an xor-shift between, and the top 16 bits scaled.
  @inline(__always)
  private static func hash(_ values: Lanes, key: UInt32, below bound: UInt32) -> Lanes {
    var h = (values ^ Lanes(repeating: key)) &* Lanes(repeating: 0x9E37_79B1)
    h ^= h &>> Lanes(repeating: 15)
    h = h &* Lanes(repeating: 0x85EB_CA77)
    return ((h &>> Lanes(repeating: 16)) &* Lanes(repeating: bound)) &>> Lanes(repeating: 16)
  }
}

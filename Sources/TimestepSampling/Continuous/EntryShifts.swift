import NoiseSchedules

/// How each entry of a batch is moved towards more noise: λ' = λ - 2·ln(shift) - 2·offset.
public struct EntryShifts {
  /// Each entry's shift, finite and above 0; nil: 1.
  public let shifts: UnsafePointer<Double>?
  /// Each entry's offset of ln σ; nil: 0.
  public let offsets: UnsafePointer<Double>?

  /// Reads from arrays that outlive the draw.
  public init(shifts: UnsafePointer<Double>?, offsets: UnsafePointer<Double>?) {
    self.shifts = shifts
    self.offsets = offsets
  }

  var isNone: Bool { shifts == nil && offsets == nil }

  /// Throws unless the entries' values are valid.
  func check(_ count: Int) throws {
    // e^±87: the range of σ as a Float.
    let range = 1.645_811_431_082_272_5e-38...6.076_030_225_056_872e37
    if let i = shifts.flatMap({ Self.firstOutside(range, of: $0, count) }), let shifts {
      throw ArgumentError("shift[\(i)]", "must be above 0, and within e⁻⁸⁷ to e⁸⁷", got: shifts[i])
    }
    if let i = offsets.flatMap({ Self.firstOutside(-87...87, of: $0, count) }), let offsets {
      throw ArgumentError("offset[\(i)]", "must be in [-87, 87]", got: offsets[i])
    }
  }

  /// Whether the distances of all entries are within a range around 0, so far as comparisons alone can tell.
  func areWithin(_ distances: ClosedRange<Double>, _ count: Int) -> Bool {
    // Half of it for each where both are given.
    let part = shifts == nil || offsets == nil ? 1 : 0.5
    let (low, high) = (part * distances.lowerBound, part * distances.upperBound)
    return shifts.map { Self.firstOutside(Double.exp(low)...Double.exp(high), of: $0, count) == nil } ?? true
      && offsets.map { Self.firstOutside(low...high, of: $0, count) == nil } ?? true
  }

  /// The first value that is outside of a range, or NaN.
  private static func firstOutside(
    _ range: ClosedRange<Double>, of values: UnsafePointer<Double>, _ count: Int
  ) -> Int? {
    let (low, high) = (range.lowerBound, range.upperBound)
    // Nearly always there is none: one count without branches.
    var inside = 0
    for i in 0..<count { inside &+= (values[i] >= low ? 1 : 0) & (values[i] <= high ? 1 : 0) }
    return inside == count ? nil : (0..<count).first { !range.contains(values[$0]) }
  }

  /// The name of what moves an entry, for errors.
  func name(_ entry: Int) -> String { offsets == nil ? "shift[\(entry)]" : "offset[\(entry)]" }

  /// How far an entry's ln σ is moved.
  func distance(_ entry: Int) -> Double { (shifts.map { Double.log($0[entry]) } ?? 0) + (offsets?[entry] ?? 0) }

  /// What the σ of `count` entries from `first` on are multiplied by, in `room` unless it is there already.
  @inline(__always)
  func factors(from first: Int, _ count: Int, room: UnsafeMutablePointer<Double>) -> UnsafePointer<Double> {
    if let shifts, offsets == nil { return shifts + first }
    for i in 0..<count { room[i] = 1 }
    if let shifts {
      for i in 0..<count { room[i] = shifts[first &+ i] }
    }
    if let offsets {
      for i in 0..<count { room[i] *= exponential(offsets[first &+ i]) }
    }
    return UnsafePointer(room)
  }

  /// Multiplies the σ of entries from `first` on, and keeps them in range.
  @inline(__always)
  func apply(to sigma: UnsafeMutableBufferPointer<Double>, from first: Int) {
    if let shifts {
      for i in 0..<sigma.count { sigma[i] *= shifts[first &+ i] }
    }
    if let offsets {
      for i in 0..<sigma.count { sigma[i] *= exponential(offsets[first &+ i]) }
    }
    let (smallest, largest) = (NoiseLevel.smallest, NoiseLevel.largest)
    for i in 0..<sigma.count {
      let atLeast = sigma[i] < smallest ? smallest : sigma[i]
      sigma[i] = atLeast > largest ? largest : atLeast
    }
  }
}

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

  /// Multiplies the σ of entries from `first` on, and keeps them in range.
  @inline(__always)
  func apply(to sigma: UnsafeMutableBufferPointer<Double>, from first: Int) {
    if let shifts {
      for i in 0..<sigma.count { sigma[i] *= shifts[first &+ i] }
    }
    if let offsets {
      for i in 0..<sigma.count { sigma[i] *= Double.exp(offsets[first &+ i]) }
    }
    let (smallest, largest) = (NoiseLevel.smallest, NoiseLevel.largest)
    for i in 0..<sigma.count {
      let atLeast = sigma[i] < smallest ? smallest : sigma[i]
      sigma[i] = atLeast > largest ? largest : atLeast
    }
  }
}

extension SigmaSampler {
  /// Draws entries of a step, and moves each.
  ///
  /// The uniform numbers do not depend on the shifts, and strata hold before them. For EDM and rectified flow, σ is multiplied by
  /// shift·e^offset. For VP and VE, which have a largest noise level, the density is moved, cut and renormalized. The
  /// weights are those of the moved levels.
  ///
  /// - Parameters:
  ///   - slice: which entries; the sampler's own layout is not used.
  ///   - moves: a value for each of them.
  ///   - levels: room for `slice.count` values.
  ///   - weights: room for `slice.count` weights.
  /// - Throws: `ArgumentError` if a value is out of range, if a method learns, or if weights depend on what is drawn;
  ///   then nothing is written.
  public func draw(
    _ slice: BatchSlice, moves: EntryShifts, levels: UnsafeMutablePointer<Float>, weights: UnsafeMutablePointer<Float>
  ) throws {
    guard !moves.isNone else { return draw(slice, levels: levels, weights: weights) }
    let argument = moves.shifts == nil ? "offset" : "shift"
    guard !options.normalize else {
      throw ArgumentError(argument, "must not be given with normalize, whose mean weight it changes", got: "both")
    }
    guard course == nil else {
      throw ArgumentError(argument, "must not be given with a method that learns, such as adaptive", got: "both")
    }
    guard !weightFollowsDraws else {
      throw ArgumentError(
        argument, "must not be given with a weighting that depends on the density drawn, such as to_emphasis",
        got: "both")
    }
    try moves.check(slice.count)
    let own = SigmaQuantiles(tables: tables, step: slice.step)
    guard process.logSigmaRange.high < .infinity else {
      return fill(slice, from: ScaledQuantiles(own: own, moves: moves), levels: levels, weights: weights)
    }
    var moved = MovedQuantiles(tables: own.tables, step: slice.step, moves: moves)
    // An error must come before anything is written.
    for entry in 0..<slice.count { try moved.prepare(entry, in: process) }
    fill(slice, from: moved, levels: levels, weights: weights)
  }
}

/// Quantiles of σ, each times its entry's factor.
private struct ScaledQuantiles: SigmaSource {
  let own: SigmaQuantiles
  let moves: EntryShifts

  var tables: LevelCourse.Tables { own.tables }

  @inline(__always)
  func store(
    _ fractions: UnsafeBufferPointer<UInt64>, from first: Int, into sigma: UnsafeMutableBufferPointer<Double>
  ) {
    own.store(fractions, from: first, into: sigma)
    moves.apply(to: sigma, from: first)
  }
}

/// The quantiles of a density that is moved by a few distances.
private struct MovedQuantiles: SigmaSource {
  let tables: LevelCourse.Tables
  private let step: UInt64
  private let moves: EntryShifts
  private var moved: [Double: any NoiseLevels]

  init(tables: LevelCourse.Tables, step: UInt64, moves: EntryShifts) {
    (self.tables, self.step, self.moves, moved) = (tables, step, moves, [0: tables.levels])
  }

  /// Makes the density moved by an entry's distance.
  mutating func prepare(_ entry: Int, in process: ContinuousProcess) throws {
    let distance = moves.distance(entry)
    if moved[distance] == nil {
      moved[distance] = try tables.levels.moved(by: distance, at: step, in: process, moves.name(entry))
    }
  }

  func store(
    _ fractions: UnsafeBufferPointer<UInt64>, from first: Int, into sigma: UnsafeMutableBufferPointer<Double>
  ) {
    for i in 0..<fractions.count {
      // All were prepared.
      let levels = moved[moves.distance(first &+ i)] ?? tables.levels
      sigma[i] = NoiseLevel(levels.logSigma(Probability(fraction: fractions[i]), at: step)).sigma
    }
  }
}

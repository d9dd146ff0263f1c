import NoiseSchedules

extension SigmaSampler {
  /// Draws entries of a step, and moves each.
  ///
  /// The uniform numbers do not depend on the shifts, and strata hold before them. For EDM and rectified flow, σ is
  /// multiplied by shift·e^offset. For VP and VE, which have a largest noise level, the density is moved, cut and
  /// renormalized. The weights are those of the moved levels.
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
    var moved = MovedQuantiles(own: own, moves: moves)
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
  private let own: SigmaQuantiles
  private let moves: EntryShifts
  private var moved: [Double: any NoiseLevels] = [:]

  init(own: SigmaQuantiles, moves: EntryShifts) { (self.own, self.moves) = (own, moves) }

  var tables: LevelCourse.Tables { own.tables }

  /// Makes the density moved by an entry's distance.
  mutating func prepare(_ entry: Int, in process: ContinuousProcess) throws {
    let distance = moves.distance(entry)
    if distance != 0, moved[distance] == nil {
      moved[distance] = try tables.levels.moved(by: distance, at: own.step, in: process, moves.name(entry))
    }
  }

  func store(
    _ fractions: UnsafeBufferPointer<UInt64>, from first: Int, into sigma: UnsafeMutableBufferPointer<Double>
  ) {
    // An entry that is not moved is drawn as ever, to the last bit.
    own.store(fractions, from: first, into: sigma)
    for i in 0..<fractions.count {
      guard let levels = moved[moves.distance(first &+ i)] else { continue }
      sigma[i] = NoiseLevel(levels.logSigma(Probability(fraction: fractions[i]), at: own.step)).sigma
    }
  }
}

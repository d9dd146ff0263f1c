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
    let own = SigmaQuantiles(tables: tables, step: slice.step)
    // An error must come before anything is written.
    if process.logSigmaRange.high < .infinity, let table = moveTable() {
      try table.check(moves, slice.count, in: process)
      return fill(
        slice, from: TabulatedMoves(own: own, moves: moves, table: table), levels: levels, weights: weights)
    }
    try moves.check(slice.count)
    guard process.logSigmaRange.high < .infinity else {
      return fill(slice, from: ScaledQuantiles(own: own, moves: moves), levels: levels, weights: weights)
    }
    let source = try MovedQuantiles(own: own, moves: moves, count: slice.count, in: process)
    fill(slice, from: source, levels: levels, weights: weights)
  }
}

/// Quantiles of σ, each times its entry's factor.
private struct ScaledQuantiles: SigmaSource {
  let own: SigmaQuantiles
  let moves: EntryShifts

  var tables: LevelCourse.Tables { own.tables }

  @inline(__always)
  func store(
    _ fractions: UnsafeBufferPointer<UInt64>, from first: Int, into sigma: UnsafeMutableBufferPointer<Double>,
    scratch: UnsafeMutablePointer<UInt64>
  ) {
    own.store(fractions, from: first, into: sigma, scratch: scratch)
    moves.apply(to: sigma, from: first)
  }
}

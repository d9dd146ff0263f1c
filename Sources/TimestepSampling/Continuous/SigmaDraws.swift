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
  /// - Throws: `ArgumentError` if a value is out of range, or the weights depend on what is drawn; then nothing is written.
  public func draw(
    _ slice: BatchSlice, moves: EntryShifts, levels: UnsafeMutablePointer<Float>, weights: UnsafeMutablePointer<Float>
  ) throws {
    guard !moves.isNone else { return draw(slice, levels: levels, weights: weights) }
    let argument = moves.shifts == nil ? "offset" : "shift"
    guard !options.normalize else {
      throw ArgumentError(argument, "must not be given with normalize, whose mean weight it changes", got: "both")
    }
    guard !weightFollowsDraws else {
      throw ArgumentError(
        argument, "must not be given with a weighting that depends on the density drawn, such as to_emphasis",
        got: "both")
    }
    try moves.check(slice.count)
    guard process.logSigmaRange.high < .infinity else {
      return fill(slice, levels: levels, weights: weights) { run, fractions, sigma in
        quantiles(fractions, at: slice.step, into: sigma)
        moves.apply(to: sigma, from: run)
      }
    }
    var moved = MovedQuantiles(levels: self.levels, step: slice.step, process: process)
    // An error must come before anything is written.
    for entry in 0..<slice.count { try moved.add(moves.distance(entry), moves.name(entry)) }
    fill(slice, levels: levels, weights: weights) { run, fractions, sigma in
      // An entry that is not moved is drawn as ever, to the last bit.
      quantiles(fractions, at: slice.step, into: sigma)
      for i in 0..<fractions.count {
        let distance = moves.distance(run + i)
        if distance != 0 { sigma[i] = moved.sigma(fractions[i], movedBy: distance) }
      }
    }
  }

  /// Draws entries of a step, whose σ `body` finds.
  @inline(__always)
  func fill(
    _ slice: BatchSlice, levels: UnsafeMutablePointer<Float>, weights: UnsafeMutablePointer<Float>,
    _ body: (
      _ first: Int, _ fractions: UnsafeBufferPointer<UInt64>, _ sigma: UnsafeMutableBufferPointer<Double>
    ) -> Void
  ) {
    withUnsafeTemporaryAllocation(of: Double.self, capacity: RandomStream.chunk) { buffer in
      BatchFractions(options: options, slice: slice).forEachRun { first, fractions in
        let sigma = UnsafeMutableBufferPointer(rebasing: buffer[..<fractions.count])
        body(first, fractions, sigma)
        store(sigma, into: levels + first)
        storeWeights(of: sigma, at: slice.step, into: weights + first)
      }
    }
  }

  /// σ of the sampler's own density at some fractions.
  @inline(__always)
  func quantiles(
    _ fractions: UnsafeBufferPointer<UInt64>, at step: UInt64, into sigma: UnsafeMutableBufferPointer<Double>
  ) {
    guard let table else {
      for i in 0..<fractions.count { sigma[i] = exactSigma(fractions[i], at: step) }
      return
    }
    table.sigma.withLookup { lookup in
      for i in 0..<fractions.count {
        // 2⁶⁴·p from the nearer end.
        let isUpper = fractions[i] &>> 63
        let nearer = fractions[i] ^ (0 &- isUpper)
        let p = Double(Int64(truncatingIfNeeded: nearer))
        sigma[i] = lookup.value(at: p, of: Int(truncatingIfNeeded: isUpper))
      }
    }
    for i in 0..<fractions.count where _slowPath(sigma[i].isNaN) { sigma[i] = exactSigma(fractions[i], at: step) }
  }

  @inline(never)
  private func exactSigma(_ fraction: UInt64, at step: UInt64) -> Double {
    NoiseLevel(levels.logSigma(Probability(fraction: fraction), at: step)).sigma
  }

  /// Stores what a training loop takes: t for rectified flow, in (0, 1), and σ for the others, above 0 and finite.
  @inline(__always)
  private func store(_ sigma: UnsafeMutableBufferPointer<Double>, into levels: UnsafeMutablePointer<Float>) {
    let isFlow = process.kind == .flow
    let largest = isFlow ? Float(1).nextDown : .greatestFiniteMagnitude
    // Extreme levels are rounded to the nearest valid Float, so that a division by 1-t or by σ is safe.
    if isFlow {
      for i in 0..<sigma.count {
        levels[i] = min(largest, max(.leastNormalMagnitude, Float(sigma[i] / (1 + sigma[i]))))
      }
    } else {
      for i in 0..<sigma.count { levels[i] = min(largest, max(.leastNormalMagnitude, Float(sigma[i]))) }
    }
  }

  @inline(__always)
  private func storeWeights(
    of sigma: UnsafeMutableBufferPointer<Double>, at step: UInt64, into weights: UnsafeMutablePointer<Float>
  ) {
    let bound = weightWarmUp?.bound(at: step) ?? .infinity
    // A weight too large for a Float becomes the largest finite one.
    let largest = Double(Float.greatestFiniteMagnitude)
    func finish(_ weight: Double) -> Float { Float(min(min(weight, bound) * scale, largest)) }
    guard let table = table?.weight else {
      for i in 0..<sigma.count { weights[i] = finish(weight(atLogSigma: Double.log(sigma[i]), at: step)) }
      return
    }
    table.withLookup { lookup in
      for i in 0..<sigma.count {
        let value = lookup.value(at: sigma[i])
        weights[i] = finish(
          _fastPath(value == value) ? value : weight(atLogSigma: Double.log(sigma[i]), at: step))
      }
    }
  }
}

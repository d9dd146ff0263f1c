import NoiseSchedules

/// Draws the time steps of a training run, with their weights.
///
/// A draw is a pure function of the seed, the training step, the entry's index in the global batch, and the size of the
/// global batch. There is no state: a run is resumed with nothing but its step number. A sampler may be used from any
/// number of threads at once.
public final class TimestepSampler: Sendable {
  /// The schedule that the time steps index.
  public let schedule: NoiseSchedule
  /// P, shape (T,): the distribution of a drawn entry. With pairs, `marginal(total:)` is that of the batch.
  public let probabilities: [Double]
  /// w, shape (T,): the factors of the loss. With `normalize` they are divided by their mean under `probabilities`.
  public let weights: [Double]
  /// Seed, layout, strata, target and normalization.
  public let options: SamplerOptions
  /// The pairs of the `official` preset, or nil.
  public let pairing: DualPairing?

  private let inverseCDF: InverseCDF
  private let singleWeights: [Float]
  /// The mean weight of a drawn entry, and of a dual one, before normalization.
  private let meanWeight: Double
  private let meanDualWeight: Double

  /// Combines a density and a weighting.
  ///
  /// - Parameters:
  ///   - schedule: the noise schedule, of T steps.
  ///   - density: which steps to draw.
  ///   - weighting: how much each counts.
  ///   - options: seed, layout, strata, target and normalization.
  /// - Throws: `ArgumentError` where something does not fit the schedule or each other.
  public convenience init(
    schedule: NoiseSchedule, density: some TimestepDensity, weighting: some TimestepWeighting,
    options: SamplerOptions
  ) throws {
    try self.init(schedule: schedule, density: density, weighting: weighting, options: options, pairing: nil)
  }

  /// The same with the pairs of the `official` preset, which must be the schedule's own.
  init(
    schedule: NoiseSchedule, density: some TimestepDensity, weighting: some TimestepWeighting,
    options: SamplerOptions, pairing: DualPairing?
  ) throws {
    guard pairing == nil || options.strata == .none else {
      throw ArgumentError(
        "strata", "must be none with the official preset, whose draws come in pairs", got: options.strata)
    }
    let probabilities = try density.probabilities(for: schedule)
    let raw = try weighting.weights(for: schedule, prediction: options.prediction)
    // Tables are read without bounds checks from here on, and anyone may write a density or a weighting.
    try Self.check(probabilities, of: "density", for: schedule)
    try Self.check(raw, of: "weighting", for: schedule)
    let sum = probabilities.reduce(0, +)
    guard abs(sum - 1) < 1e-9 else { throw ArgumentError("density", "must have probabilities with sum 1", got: sum) }
    let meanWeight = dot(probabilities, raw)
    guard !options.normalize || (meanWeight > 0 && meanWeight.isFinite) else {
      throw ArgumentError(
        "normalize", "must not be set where the mean weight is not positive and finite", got: meanWeight)
    }
    self.schedule = schedule
    self.probabilities = probabilities
    self.weights = options.normalize ? raw.map { $0 / meanWeight } : raw
    self.options = options
    self.pairing = pairing
    self.meanWeight = meanWeight
    meanDualWeight = pairing.map { dot($0.dualProbabilities(probabilities), raw) } ?? meanWeight
    inverseCDF = InverseCDF(probabilities)
    singleWeights = weights.map(Float.init)
  }

  /// The exact distribution of an entry taken at random from a global batch of `total` entries, shape (T,).
  ///
  /// It is P but for the `official` preset, where the duals shift it.
  ///
  /// - Throws: `ArgumentError` unless total ≥ 1.
  public func marginal(total: Int) throws -> [Double] {
    try checkTotal(total)
    guard let pairing else { return probabilities }
    let share = pairing.dualShare(of: total)
    return zip(probabilities, pairing.dualProbabilities(probabilities)).map { (1 - share) * $0 + share * $1 }
  }

  /// E[w] over a global batch of `total` entries, before normalization; nil stands for independent entries of P.
  ///
  /// - Throws: `ArgumentError` unless total ≥ 1.
  public func expectedWeight(total: Int? = nil) throws -> Double {
    guard let total else { return meanWeight }
    try checkTotal(total)
    return meanWeight(dualShare: pairing?.dualShare(of: total) ?? 0)
  }

  /// Draws consecutive calls of this rank with `count` entries each; row-major (calls, count).
  ///
  /// - Parameters:
  ///   - firstCall: the first call's number: step·accumulation + micro-batch.
  ///   - calls: how many, at least 0.
  ///   - count: n, the local batch.
  ///   - timesteps: room for calls·count indices; 0-based steps are written.
  ///   - weights: room for calls·count weights.
  /// - Throws: `ArgumentError` if the numbers are out of range; then nothing is written.
  public func draw(
    firstCall: UInt64, calls: Int, count: Int, timesteps: UnsafeMutablePointer<Int64>,
    weights: UnsafeMutablePointer<Float>
  ) throws {
    // Checked also where there are no calls to make.
    _ = try options.layout.slice(call: firstCall, count: count)
    guard calls >= 0, !calls.multipliedReportingOverflow(by: max(count, 1)).overflow else {
      throw ArgumentError("calls", "must be at least 0, and calls·n must fit into 63 bits", got: calls)
    }
    for call in 0..<calls {
      let slice = try options.layout.slice(call: firstCall &+ UInt64(call), count: count)
      draw(slice, timesteps: timesteps + call * count, weights: weights + call * count)
    }
  }

  /// Draws any entries of any step.
  ///
  /// - Parameters:
  ///   - slice: which entries; the sampler's own layout plays no part.
  ///   - timesteps: room for `slice.count` indices; 0-based steps are written.
  ///   - weights: room for `slice.count` weights.
  public func draw(
    _ slice: BatchSlice, timesteps: UnsafeMutablePointer<Int64>, weights: UnsafeMutablePointer<Float>
  ) {
    let scale = batchScale(total: slice.total)
    singleWeights.withUnsafeBufferPointer { table in
      // The table has T ≥ 2 entries.
      let output = DrawOutput(
        timesteps: timesteps, weights: weights, table: table.baseAddress!, scale: scale, duals: nil)
      let end = slice.offset + slice.count
      guard let pairing else { return draw(slice, entries: slice.offset..<end, to: output) }
      // Duals are drawn as the entries they mirror.
      let primaries = pairing.primaryCount(of: slice.total)
      let split = min(max(slice.offset, primaries), end)
      draw(slice, entries: slice.offset..<split, to: output)
      let duals = output.from(split - slice.offset, duals: pairing)
      draw(slice, entries: (split - primaries)..<(end - primaries), to: duals)
    }
  }

  /// Draws one call's batch into new arrays.
  ///
  /// - Throws: `ArgumentError` if count is negative or the global batch too large.
  public func sample(_ count: Int, call: UInt64) throws -> (timesteps: [Int64], weights: [Float]) {
    let slice = try options.layout.slice(call: call, count: count)
    var timesteps = [Int64](repeating: 0, count: count)
    var weights = [Float](repeating: 0, count: count)
    timesteps.withUnsafeMutableBufferPointer { timesteps in
      weights.withUnsafeMutableBufferPointer { weights in
        if let t = timesteps.baseAddress, let w = weights.baseAddress { draw(slice, timesteps: t, weights: w) }
      }
    }
    return (timesteps, weights)
  }

  /// Draws entries of the slice's global batch from P.
  private func draw(_ slice: BatchSlice, entries: Range<Int>, to output: DrawOutput) {
    guard !entries.isEmpty else { return }
    // One chunk each for the source, its second bound, and the steps. 1 KiB is what Swift takes from the stack.
    withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 2 * RandomStream.chunk) { buffer in
      // The allocation is not empty, so it has a base address.
      let first = buffer.baseAddress!
      let steps = first + RandomStream.chunk
      switch options.strata {
      case .none:
        let source = IndependentFractions(seed: options.seed, step: slice.step, buffer: first)
        inverseCDF.draw(source, entries: entries, steps: steps, to: output)
      case .stratified:
        withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 2 * RandomStream.chunk) { bounds in
          let source = StratifiedFractions(
            seed: options.seed, step: slice.step, total: slice.total, buffer: bounds.baseAddress!)
          inverseCDF.draw(source, entries: entries, steps: steps, to: output)
        }
      case .lowDiscrepancy:
        let source = LowDiscrepancyFractions(
          seed: options.seed, step: slice.step, total: slice.total, buffer: first)
        inverseCDF.draw(source, entries: entries, steps: steps, to: output)
      }
    }
  }

  private static func check(_ table: [Double], of argument: String, for schedule: NoiseSchedule) throws {
    guard table.count == schedule.steps else {
      throw ArgumentError(argument, "must give a value for each of the \(schedule.steps) steps", got: table.count)
    }
    if let i = table.firstIndex(where: { !($0 >= 0 && $0.isFinite) }) {
      throw ArgumentError(argument, "must give finite values of at least 0", got: "\(table[i]) for index \(i)")
    }
  }

  private func checkTotal(_ total: Int) throws {
    guard total >= 1, total <= BatchSlice.maximumTotal else {
      throw ArgumentError("total", "must be in [1, \(BatchSlice.maximumTotal)]", got: total)
    }
  }

  private func meanWeight(dualShare share: Double) -> Double {
    (1 - share) * meanWeight + share * meanDualWeight
  }

  /// What `weights` still lack to be normalized for one size of the global batch.
  private func batchScale(total: Int) -> Float {
    guard options.normalize, let pairing else { return 1 }
    return Float(meanWeight / meanWeight(dualShare: pairing.dualShare(of: total)))
  }
}

private func dot(_ a: [Double], _ b: [Double]) -> Double {
  zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }
}

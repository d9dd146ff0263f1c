import NoiseSchedules

/// Draws the timesteps of a training run, with their weights.
///
/// A draw is a pure function of the seed, the training step, the entry's index in the global batch, the size of the
/// global batch and, for methods that learn, the losses so far. Only the pairs of the `official` preset also depend on
/// which entries a call takes. Any number of threads may use a sampler at once.
public final class TimestepSampler: Sendable {
  /// The schedule that the timesteps index.
  public let schedule: NoiseSchedule
  /// Seed, layout, strata, target and normalization.
  public let options: SamplerOptions
  /// The pairs of the `official` preset, or nil.
  public let pairing: DualPairing?

  private let course: SamplerCourse

  /// Combines a sampling and a weighting.
  ///
  /// - Parameters:
  ///   - schedule: the noise schedule, of T steps.
  ///   - sampling: which steps to draw.
  ///   - weighting: how much each counts.
  ///   - options: seed, layout, strata, target and normalization.
  /// - Throws: `ArgumentError` if the sampling, weighting or options do not fit the schedule or each other.
  public convenience init(
    schedule: NoiseSchedule, sampling: any Sampling, weighting: any Weighting,
    options: SamplerOptions
  ) throws {
    try self.init(schedule: schedule, sampling: sampling, weighting: weighting, options: options, pairing: nil)
  }

  /// The same with the pairs of the `official` preset, which must be made for this schedule.
  init(
    schedule: NoiseSchedule, sampling: any Sampling, weighting: any Weighting,
    options: SamplerOptions, pairing: DualPairing?
  ) throws {
    guard pairing == nil || options.strata == .none else {
      throw ArgumentError(
        "strata", "must be none with the official preset, whose draws come in pairs", got: options.strata)
    }
    self.schedule = schedule
    self.options = options
    self.pairing = pairing
    course = try SamplerCourse(
      schedule: schedule, sampling: sampling.state(for: schedule),
      weighting: weighting.state(for: schedule, prediction: options.prediction), pairing: pairing,
      normalize: options.normalize, prediction: options.prediction)
  }

  /// P at a training step, shape (T,): the distribution of a drawn entry. With pairs, `marginal` is that of the batch.
  ///
  /// The step only matters for blends. Methods that learn give their current P.
  public func probabilities(at step: UInt64 = 0) throws -> [Double] { try course.table(at: step).probabilities }

  /// w at a training step, shape (T,): the factors of the loss. `normalize` divides them by their mean under P.
  public func weights(at step: UInt64 = 0) throws -> [Double] { try course.table(at: step).weights }

  /// The exact distribution of an entry taken at random from the batch of one call, `count` entries; shape (T,).
  ///
  /// It is P, except for the `official` preset, where the duals shift it.
  ///
  /// - Throws: `ArgumentError` unless 1 ≤ count ≤ 2³¹.
  public func marginal(count: Int, at step: UInt64 = 0) throws -> [Double] {
    try check(count)
    return try course.table(at: step).marginal(count: count)
  }

  /// E[w] over the batch of one call, `count` entries, before normalization; nil: over independent draws from P.
  ///
  /// - Throws: `ArgumentError` unless 1 ≤ count ≤ 2³¹.
  public func expectedWeight(count: Int? = nil, at step: UInt64 = 0) throws -> Double {
    let table = try course.table(at: step)
    guard let count else { return table.meanWeight }
    try check(count)
    return table.meanWeight(count: count)
  }

  /// What the sampler asks the network to learn at a training step: P·w for the ε loss, over λ.
  ///
  /// A sampler without a target is treated as one for ε.
  ///
  /// - Throws: `ArgumentError` if no entry with S > 0 has weight.
  public func emphasis(at step: UInt64 = 0) throws -> Emphasis {
    let table = try course.table(at: step)
    return try Emphasis(
      of: schedule, probabilities: table.probabilities, weights: table.weights,
      prediction: options.prediction ?? .epsilon)
  }

  /// The length of `history`; 0 unless the sampling or the weighting learns from losses.
  public var historyCount: Int { course.historyCount }

  /// Learns from the losses of a batch. The next draw uses what was learned.
  ///
  /// - Parameters:
  ///   - timesteps: steps in [0, T), of the whole global batch.
  ///   - losses: one for each timestep, before any weight; finite and ≥ 0.
  /// - Throws: `ArgumentError` if the numbers are out of range or no method learns; then nothing has changed.
  public func update(timesteps: UnsafeBufferPointer<Int64>, losses: UnsafeBufferPointer<Float>) throws {
    guard timesteps.count == losses.count else {
      throw ArgumentError("losses", "must be as many as the timesteps (\(timesteps.count))", got: losses.count)
    }
    try course.update(timesteps: timesteps, losses: losses)
  }

  /// All that was learned, as plain numbers. Empty for methods that learn nothing.
  public var history: [Double] { course.history }

  /// Restores what `history` returned for the same method and T.
  ///
  /// - Throws: `ArgumentError` unless `history` can return these numbers; then nothing has changed.
  public func restore(history: [Double]) throws { try course.restore(history) }

  /// Throws where `restore` would, and changes nothing.
  public func check(history: [Double]) throws { try course.check(history) }

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
    try options.layout.check(calls: calls, from: firstCall, count: count)
    guard calls > 0, count > 0 else { return }
    func slice(_ call: Int) throws -> BatchSlice {
      try options.layout.slice(call: firstCall &+ UInt64(call), count: count)
    }
    // A later step's table may fail to be made. Then nothing may have been written.
    let tables = try course.tables(calls) { try slice($0).step }
    for call in 0..<calls {
      try draw(
        slice(call), by: tables[call], timesteps: timesteps + call * count, weights: weights + call * count)
    }
  }

  /// Draws any entries of any step.
  ///
  /// - Parameters:
  ///   - slice: which entries; the sampler's own layout is not used. The `official` preset makes its pairs within it.
  ///   - timesteps: room for `slice.count` indices; 0-based steps are written.
  ///   - weights: room for `slice.count` weights.
  public func draw(
    _ slice: BatchSlice, timesteps: UnsafeMutablePointer<Int64>, weights: UnsafeMutablePointer<Float>
  ) throws {
    draw(slice, by: try course.table(at: slice.step), timesteps: timesteps, weights: weights)
  }

  private func draw(
    _ slice: BatchSlice, by table: DrawTable, timesteps: UnsafeMutablePointer<Int64>,
    weights: UnsafeMutablePointer<Float>
  ) {
    let scale = table.batchScale(count: slice.count)
    table.singleWeights.withUnsafeBufferPointer { singleWeights in
      // The table has T ≥ 2 entries.
      let output = DrawOutput(
        timesteps: timesteps, weights: weights, table: singleWeights.baseAddress!, scale: scale, duals: nil)
      let end = slice.offset + slice.count
      guard let pairing else { return draw(slice, entries: slice.offset..<end, by: table.inverseCDF, to: output) }
      // Duals are drawn as the entries they mirror, which are the call's first ones.
      let primaries = pairing.primaryCount(of: slice.count)
      draw(slice, entries: slice.offset..<slice.offset + primaries, by: table.inverseCDF, to: output)
      let duals = output.from(primaries, duals: pairing)
      draw(slice, entries: slice.offset..<end - primaries, by: table.inverseCDF, to: duals)
    }
  }

  /// Draws one call's batch into new arrays.
  ///
  /// - Throws: `ArgumentError` if count is negative or the global batch too large.
  public func sample(_ count: Int, call: UInt64) throws -> (timesteps: [Int64], weights: [Float]) {
    let slice = try options.layout.slice(call: call, count: count)
    var timesteps = [Int64](repeating: 0, count: count)
    var weights = [Float](repeating: 0, count: count)
    try timesteps.withUnsafeMutableBufferPointer { timesteps in
      try weights.withUnsafeMutableBufferPointer { weights in
        if let t = timesteps.baseAddress, let w = weights.baseAddress { try draw(slice, timesteps: t, weights: w) }
      }
    }
    return (timesteps, weights)
  }

  /// Draws entries of the slice's global batch from P.
  private func draw(
    _ slice: BatchSlice, entries: Range<Int>, by inverseCDF: InverseCDF, to output: DrawOutput
  ) {
    options.withFractions(of: slice, StepDraw(inverseCDF: inverseCDF, entries: entries, output: output))
  }

  private func check(_ count: Int) throws {
    guard count >= 1, count <= BatchSlice.maximumTotal else {
      throw ArgumentError("n", "must be in [1, \(BatchSlice.maximumTotal)]", got: count)
    }
  }
}

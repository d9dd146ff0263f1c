import NoiseSchedules

/// P ∝ the running mean of w·loss, in bins of equal width in t: every step contributes equally to the loss of a batch.
///
/// Losses are weighted with 1/(T·P), so that the objective does not change. Uniform until each bin has had a loss. A bin's
/// mean counts as at least a thousandth of the bins' average, so that each bin is still drawn. Source: Kingma and Gao,
/// "Understanding Diffusion Objectives as the ELBO with Simple Data Augmentation", 2023.
public struct AdaptiveSampling: ChangingSampling {
  /// The number of bins.
  public let bins: Int
  /// The share of the old mean that each entry keeps, in [0, 1).
  public let decay: Double

  /// The least value of a bin's mean, relative to the average.
  static let floor = 1e-3

  /// Makes the sampling.
  ///
  /// - Throws: `ArgumentError` unless bins ≥ 1 and decay is in [0, 1).
  public init(bins: Int = 100, decay: Double = 0.999) throws {
    try BinMeans.check(bins: bins, decay: decay)
    self.bins = bins
    self.decay = decay
  }

  /// No losses yet.
  ///
  /// - Throws: `ArgumentError` if there are more bins than steps.
  public func state(for schedule: NoiseSchedule) throws -> any SamplingState {
    AdaptiveState(steps: schedule.steps, means: try BinMeans(bins: bins, decay: decay, steps: schedule.steps))
  }
}

private struct AdaptiveState: SamplingState {
  let steps: Int
  var means: BinMeans

  let keepsObjective = true

  func probabilities(at step: UInt64) throws -> [Double] {
    guard let means = try means.stepMeans(floor: AdaptiveSampling.floor) else {
      return [Double](repeating: 1 / Double(steps), count: steps)
    }
    return try normalized(means, "losses", "must have a finite sum")
  }

  mutating func update(_ batch: LossBatch) { means.update(batch) }

  var history: [Double] { means.history }
  var historyCount: Int { means.historyCount }
  mutating func restore(_ history: inout HistoryReader) throws { try means.restore(&history) }
}

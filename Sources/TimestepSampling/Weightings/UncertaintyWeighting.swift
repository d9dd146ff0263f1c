import NoiseSchedules

/// EDM2's weighting by uncertainty, without its network. The loss w·mse/e^u + u is smallest at u = ln E[w·mse], so each
/// noise level's loss is divided by the running mean of its own w·mse.
///
/// w is the product of the other factors. The means run in bins of equal width in t; the factor is 1 until each bin with
/// a step that can be drawn has had a loss, and a mean counts as at least a millionth of the average. Source: Karras et
/// al., "Analyzing and Improving the Training Dynamics of Diffusion Models", CVPR 2024.
public struct UncertaintyWeighting: ChangingWeighting {
  /// The number of bins.
  public let bins: Int
  /// The share of the old mean that each entry keeps, in [0, 1).
  public let decay: Double

  /// The least value of a bin's mean, relative to the average.
  static let floor = 1e-6

  /// Makes the weighting.
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
  public func state(for schedule: NoiseSchedule, prediction: PredictionTarget?) throws -> any WeightingState {
    UncertaintyState(steps: schedule.steps, means: try BinMeans(bins: bins, decay: decay, steps: schedule.steps))
  }
}

struct UncertaintyState: WeightingState {
  let steps: Int
  var means: BinMeans

  func weights(under probabilities: [Double]) throws -> [Double] {
    guard let means = try means.stepMeans(floor: UncertaintyWeighting.floor, gap: .average) else {
      return [Double](repeating: 1, count: steps)
    }
    return means.map { 1 / $0 }
  }

  mutating func update(_ batch: LossBatch) { means.update(batch) }

  var history: [Double] { means.history }
  var historyCount: Int { means.historyCount }
  mutating func restore(_ history: inout HistoryReader) throws { try means.restore(&history) }
}

import NoiseSchedules

/// Weights with which any sampling trains the objective of another sampler: w_eps,i = E(λ_i)·|dλ/di|/P_i, converted to
/// the sampler's own target. E[w_eps] is 1.
public struct ToEmphasisWeighting: ChangingWeighting {
  /// The emphasis to train; nil: that of uniform draws with uniform ε weights on the sampler's own schedule, the simple
  /// loss of Ho et al. 2020.
  public let emphasis: Emphasis?

  /// Makes the weighting.
  public init(of emphasis: Emphasis? = nil) { self.emphasis = emphasis }

  /// Weights that follow P.
  ///
  /// - Throws: `ArgumentError` without a target, if the schedule has none of the emphasis' λ, or at a step with S = 0 whose
  ///   form has no value.
  public func state(for schedule: NoiseSchedule, prediction: PredictionTarget?) throws -> any WeightingState {
    let prediction = try prediction.required(by: "to_emphasis")
    let snr = schedule.snr
    let shares: [Double]
    if let emphasis {
      shares = try emphasis.shares(on: schedule)
    } else {
      let steps = snr.count { $0 > 0 }
      shares = snr.map { $0 > 0 ? 1 / Double(steps) : 0 }
    }
    return ToEmphasisState(
      shares: zip(shares, snr).map { share, snr in
        share > 0 ? prediction.weight(epsilon: share, snr: snr) : 0
      })
  }
}

private struct ToEmphasisState: WeightingState {
  /// P·w of each step.
  let shares: [Double]

  let dividesByProbability = true

  func weights(under probabilities: [Double]) throws -> [Double] {
    try zip(shares, probabilities).enumerated().map { i, pair in
      guard pair.0 > 0 else { return 0 }
      guard pair.1 > 0 else {
        throw ArgumentError(
          "sampling", "must be able to draw every step that the emphasis needs",
          got: "P = 0 at index \(i) (t = \(i + 1))")
      }
      return pair.0 / pair.1
    }
  }
}

import NoiseSchedules

/// A sampling of the noise level in u ∈ [0, 1), which grows with noise: u = t/T for a schedule, and the process's own
/// variable for a continuous process.
///
/// Step i of a schedule gets the mass of [i/T, (i+1)/T).
public protocol UnitSampling: Sampling, NoiseLevelSampling {
  /// The probability of [from, to], 0 ≤ from ≤ to ≤ 1.
  func mass(from: Double, to: Double) -> Double

  /// The quantile of u at a probability, measured from both ends of [0, 1].
  func quantile(_ p: Probability) -> Probability
}

extension UnitSampling {
  /// The masses of the steps.
  ///
  /// - Throws: `ArgumentError` if all of them underflow.
  public func probabilities(for schedule: NoiseSchedule) throws -> [Double] {
    let steps = Double(schedule.steps)
    return try normalized(
      (0..<schedule.steps).map { mass(from: Double($0) / steps, to: Double($0 + 1) / steps) },
      "sampling", "must have some probability between 0 and 1")
  }

  /// The quantile by bisection, for samplings without a formula.
  public func quantile(_ p: Probability) -> Probability {
    let u =
      p.lower < 0.5
      ? bisect(0, 1, for: p.lower) { mass(from: 0, to: $0) }
      : bisect(0, 1, for: -p.upper) { -mass(from: $0, to: 1) }
    return Probability(lower: u, upper: 1 - u)
  }
}

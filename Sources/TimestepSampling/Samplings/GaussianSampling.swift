import NoiseSchedules

/// A Gaussian over the timesteps, t ~ N(mean, std²) truncated to [0, T): what CLTS ends with.
///
/// Step i gets the mass of [i, i+1).
public struct GaussianSampling: Sampling {
  /// The mean in steps; nil: 0.3·T.
  public let mean: Double?
  /// The standard deviation in steps, above 0; nil: 0.2·T.
  public let std: Double?

  /// Makes the sampling.
  ///
  /// - Throws: `ArgumentError` unless the mean is finite and std finite and above 0.
  public init(mean: Double? = nil, std: Double? = nil) throws {
    if let mean { try checkFinite("mean", mean) }
    if let std { try checkPositive("std", std) }
    self.mean = mean
    self.std = std
  }

  /// The masses of the steps.
  ///
  /// - Throws: `ArgumentError` if the Gaussian has no mass in [0, T).
  public func probabilities(for schedule: NoiseSchedule) throws -> [Double] {
    let steps = Double(schedule.steps)
    let (mean, std) = (mean ?? 0.3 * steps, std ?? 0.2 * steps)
    return try normalized(
      (0..<schedule.steps).map {
        NormalDistribution.mass(from: (Double($0) - mean) / std, to: (Double($0 + 1) - mean) / std)
      },
      "mean", "and std must put some of the Gaussian into the steps [0, \(schedule.steps))")
  }
}

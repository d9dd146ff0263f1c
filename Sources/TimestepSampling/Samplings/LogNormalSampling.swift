import NoiseSchedules

/// EDM's training draw: ln σ ~ N(mean, std²), that is λ ~ N(-2·mean, (2·std)²).
///
/// On a schedule σ_i = √((1-ᾱ_i)/ᾱ_i). Source: Karras et al., "Elucidating the Design Space of Diffusion-Based
/// Generative Models", 2022, Table 1.
public struct LogNormalSampling: LogSNRSampling {
  /// The mean of ln σ.
  public let mean: Double
  /// The standard deviation of ln σ, above 0.
  public let std: Double

  /// Makes the sampling.
  ///
  /// - Throws: `ArgumentError` unless both are finite and std is above 0.
  public init(mean: Double = -1.2, std: Double = 1.2) throws {
    try checkFinite("p_mean", mean)
    try checkPositive("p_std", std)
    self.mean = mean
    self.std = std
  }

  /// The probability of an interval of λ. `LogSNRSampling` cuts it into steps.
  public func mass(from: Double, to: Double) -> Double {
    NormalDistribution.mass(from: (from / 2 + mean) / std, to: (to / 2 + mean) / std)
  }

  /// λ of a probability.
  public func quantile(_ p: Probability) -> Double { 2 * (std * NormalDistribution.quantile(p) - mean) }
}

import NoiseSchedules

/// u = 1/(1+e^{-x}) with x ~ N(mean, std²): Stable Diffusion 3's training draw.
///
/// u grows with noise, so that a mean above 0 means more noise. Source: Esser et al., "Scaling Rectified Flow
/// Transformers for High-Resolution Image Synthesis", 2024, Eq. 19.
public struct LogitNormalSampling: UnitSampling {
  /// The mean of logit(u).
  public let mean: Double
  /// The standard deviation of logit(u), above 0.
  public let std: Double

  /// Makes the sampling.
  ///
  /// - Throws: `ArgumentError` unless both are finite and std is above 0.
  public init(mean: Double = 0, std: Double = 1) throws {
    try checkFinite("mean", mean)
    try checkPositive("std", std)
    self.mean = mean
    self.std = std
  }

  /// The probability of an interval of u.
  public func mass(from: Double, to: Double) -> Double {
    func standardized(_ u: Double) -> Double { (Double.log(u) - Double.log(onePlus: -u) - mean) / std }
    return NormalDistribution.mass(from: standardized(from), to: standardized(to))
  }

  /// u of a probability.
  public func quantile(_ p: Probability) -> Probability {
    let x = mean + std * NormalDistribution.quantile(p)
    return Probability(lower: 1 / (1 + Double.exp(-x)), upper: 1 / (1 + Double.exp(x)))
  }
}

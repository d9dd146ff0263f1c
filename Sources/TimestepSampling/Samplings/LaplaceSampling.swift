import NoiseSchedules

/// A Laplace density in λ = ln S: p(λ) = exp(-|λ-mean|/scale)/(2·scale).
///
/// Source: Hang et al., "Improved Noise Schedule for Diffusion Training", ICCV 2025.
public struct LaplaceSampling: LogSNRSampling {
  /// Where the density is largest; above 0 means less noise.
  public let mean: Double
  /// The mean distance from there, above 0.
  public let scale: Double

  /// Makes the sampling.
  ///
  /// - Throws: `ArgumentError` unless both are finite and scale is above 0.
  public init(mean: Double = 0, scale: Double = 0.5) throws {
    try checkFinite("mean", mean)
    try checkPositive("scale", scale)
    self.mean = mean
    self.scale = scale
  }

  /// The probability of an interval of λ. `LogSNRSampling` cuts it into steps.
  public func mass(from: Double, to: Double) -> Double {
    let (a, b) = ((from - mean) / scale, (to - mean) / scale)
    // Two infinite ends would have no difference.
    guard a < b else { return 0 }
    if a >= 0 { return -0.5 * Double.exp(-a) * Double.expMinusOne(a - b) }
    if b <= 0 { return -0.5 * Double.exp(b) * Double.expMinusOne(a - b) }
    return -0.5 * (Double.expMinusOne(a) + Double.expMinusOne(-b))
  }

  /// λ of a probability.
  public func quantile(_ p: Probability) -> Double {
    p.lower < 0.5 ? mean + scale * Double.log(2 * p.lower) : mean - scale * Double.log(2 * p.upper)
  }
}

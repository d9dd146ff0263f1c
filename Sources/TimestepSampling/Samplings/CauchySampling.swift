import NoiseSchedules

/// A Cauchy density in λ = ln S: p(λ) = scale/(π((λ-mean)²+scale²)).
///
/// Source: Hang et al., "Improved Noise Schedule for Diffusion Training", ICCV 2025.
public struct CauchySampling: LogSNRSampling {
  /// Where the density is largest; above 0 means less noise.
  public let mean: Double
  /// The half-width at half maximum, above 0.
  public let scale: Double

  /// Makes the sampling.
  ///
  /// - Throws: `ArgumentError` unless both are finite and scale is above 0.
  public init(mean: Double = 0, scale: Double = 1) throws {
    try checkFinite("mean", mean)
    try checkPositive("scale", scale)
    self.mean = mean
    self.scale = scale
  }

  /// The probability of an interval of λ. `LogSNRSampling` cuts it into steps.
  public func mass(from: Double, to: Double) -> Double {
    let (a, b) = ((from - mean) / scale, (to - mean) / scale)
    guard a.isFinite, b.isFinite else { return (Double.atan(b) - Double.atan(a)) / .pi }
    // The angle between the two directions, without cancellation.
    return Double.atan2(y: b - a, x: 1 + a * b) / .pi
  }

  /// λ of a probability.
  public func quantile(_ p: Probability) -> Double {
    // The cotangent of the angle from the nearer end.
    p.lower < 0.5 ? mean - scale / Double.tan(.pi * p.lower) : mean + scale / Double.tan(.pi * p.upper)
  }
}

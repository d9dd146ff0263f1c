import NoiseSchedules

/// t = T·Beta(alpha, beta): B-TTDM's training draw, and Beta densities in general.
///
/// The defaults α = 0.8, β = 1 give u = x^{1/α} with uniform x: early steps, with little noise, are drawn somewhat more often.
/// Source: Zheng et al., "Beta-Tuned Timestep Diffusion Model", ECCV 2024.
public struct BetaSampling: UnitSampling {
  /// α in (0, 10⁴]; below 1 the density is unbounded at u = 0, no noise.
  public let alpha: Double
  /// β in (0, 10⁴]; below 1 the density is unbounded at u = 1, pure noise.
  public let beta: Double

  /// Beyond, the continued fraction of the distribution function converges slowly.
  public static let largestParameter = 1e4

  private let distribution: IncompleteBeta

  /// Makes the sampling.
  ///
  /// - Throws: `ArgumentError` unless both are in (0, 10⁴].
  public init(alpha: Double = 0.8, beta: Double = 1) throws {
    for (name, value) in [("alpha", alpha), ("beta", beta)] {
      guard value > 0, value <= Self.largestParameter else {
        throw ArgumentError(name, "must be above 0 and at most \(Int(Self.largestParameter))", got: value)
      }
    }
    self.alpha = alpha
    self.beta = beta
    distribution = IncompleteBeta(a: alpha, b: beta)
  }

  /// The probability of an interval of u.
  public func mass(from: Double, to: Double) -> Double { max(0, distribution.mass(from: from, to: to)) }

  /// The quantile of u, measured from the nearer end.
  public func quantile(_ p: Probability) -> Probability {
    if beta == 1 {
      let logarithm = Double.log(p.lower) / alpha
      return Probability(lower: Double.exp(logarithm), upper: -Double.expMinusOne(logarithm))
    }
    if alpha == 1 {
      let logarithm = Double.log(p.upper) / beta
      return Probability(lower: -Double.expMinusOne(logarithm), upper: Double.exp(logarithm))
    }
    if p.lower < 0.5 {
      let u = distribution.quantile(p.lower)
      return Probability(lower: u, upper: 1 - u)
    }
    let rest = distribution.mirrored.quantile(p.upper)
    return Probability(lower: 1 - rest, upper: rest)
  }
}

import NoiseSchedules

/// u = low + (high-low)·Beta(alpha, beta), t = T·u: B-TTDM's training draw, and Beta densities in general.
///
/// The defaults α = 0.8, β = 1 give u = x^{1/α} with uniform x: early steps, with little noise, are drawn somewhat more often.
/// Source: Zheng et al., "Beta-Tuned Timestep Diffusion Model", ECCV 2024.
public struct BetaSampling: UnitSampling {
  /// α in (0, 10⁴]; below 1 the density is unbounded at u = 0, no noise.
  public let alpha: Double
  /// β in (0, 10⁴]; below 1 the density is unbounded at u = 1, pure noise.
  public let beta: Double
  /// The least u, in [0, 1).
  public let low: Double
  /// The largest u, in (low, 1].
  public let high: Double

  /// Beyond, the continued fraction of the distribution function converges slowly.
  public static let largestParameter = 1e4

  private let distribution: IncompleteBeta

  /// Makes the sampling.
  ///
  /// - Throws: `ArgumentError` unless α and β are in (0, 10⁴], and 0 ≤ low < high ≤ 1.
  public init(alpha: Double = 0.8, beta: Double = 1, low: Double = 0, high: Double = 1) throws {
    for (name, value) in [("alpha", alpha), ("beta", beta)] {
      guard value > 0, value <= Self.largestParameter else {
        throw ArgumentError(name, "must be above 0 and at most \(Int(Self.largestParameter))", got: value)
      }
    }
    guard low >= 0, low < 1 else { throw ArgumentError("low", "must be in [0, 1)", got: low) }
    guard high > low, high <= 1 else {
      throw ArgumentError("high", "must be above low = \(low) and at most 1", got: high)
    }
    self.alpha = alpha
    self.beta = beta
    self.low = low
    self.high = high
    distribution = IncompleteBeta(a: alpha, b: beta)
  }

  /// The probability of an interval of u.
  public func mass(from: Double, to: Double) -> Double {
    let (from, to) = (max(0, (from - low) / (high - low)), min(1, (to - low) / (high - low)))
    return from < to ? max(0, distribution.mass(from: from, to: to)) : 0
  }

  /// The quantile of u.
  public func quantile(_ p: Probability) -> Probability {
    let share = share(p)
    return Probability(
      lower: low + (high - low) * share.lower, upper: (1 - high) + (high - low) * share.upper)
  }

  /// The quantile of (u-low)/(high-low), measured from the nearer end.
  private func share(_ p: Probability) -> Probability {
    if beta == 1 {
      let logarithm = Double.log(p.lower) / alpha
      return Probability(lower: Double.exp(logarithm), upper: -Double.expMinusOne(logarithm))
    }
    if alpha == 1 {
      let logarithm = Double.log(p.upper) / beta
      return Probability(lower: -Double.expMinusOne(logarithm), upper: Double.exp(logarithm))
    }
    if p.lower < 0.5 {
      let share = distribution.quantile(p.lower)
      return Probability(lower: share, upper: 1 - share)
    }
    let rest = distribution.mirrored.quantile(p.upper)
    return Probability(lower: 1 - rest, upper: rest)
  }
}

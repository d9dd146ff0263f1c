import NoiseSchedules

/// u = 1 - 1/(tan(πx/2)+1) with uniform x, that is p(u) = 2/(π(1-2u+2u²)): Stable Diffusion 3's CosMap.
///
/// u grows with noise; the density is that of a rectified flow whose log-SNR follows the cosine schedule. Source: Esser
/// et al. 2024, Eq. 21.
public struct CosMapSampling: UnitSampling {
  /// Makes the sampling.
  public init() {}

  /// The probability of an interval of u.
  public func mass(from: Double, to: Double) -> Double {
    2 / .pi * Double.atan2(y: to - from, x: (1 - from) * (1 - to) + from * to)
  }

  /// u of a probability.
  public func quantile(_ p: Probability) -> Probability {
    let (sine, cosine) = (Double.sin(.pi / 2 * p.lower), Double.sin(.pi / 2 * p.upper))
    return Probability(lower: sine / (sine + cosine), upper: cosine / (sine + cosine))
  }
}

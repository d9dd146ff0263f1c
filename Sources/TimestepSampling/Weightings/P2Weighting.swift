import NoiseSchedules

/// P2 weighting: 1/(k+S)^γ on the ε loss.
///
/// Source: Choi et al., "Perception Prioritized Training of Diffusion Models", CVPR 2022.
public struct P2Weighting: SNRWeighting {
  /// `p2`.
  public static let name = "p2"
  /// k, above 0.
  public let k: Double
  /// γ, above 0.
  public let gamma: Double

  /// Makes the weighting.
  ///
  /// - Throws: `ArgumentError` unless both are finite and above 0.
  public init(k: Double = 1, gamma: Double = 1) throws {
    try checkPositive("k", k)
    try checkPositive("gamma", gamma)
    self.k = k
    self.gamma = gamma
  }

  /// The weight of the ε loss.
  public func epsilon(_ snr: Double) -> Double { .pow(k + snr, -gamma) }

  /// The weight of the x₀ loss.
  public func sample(_ snr: Double) -> Double { snr * epsilon(snr) }
}

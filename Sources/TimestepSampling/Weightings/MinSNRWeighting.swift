/// Min-SNR-γ: min(S, γ) on the x₀ loss.
///
/// On the ε loss that is min(S, γ)/S, whose limit at S = 0 is 1. Source: Hang et al., "Efficient Diffusion Training via
/// Min-SNR Weighting Strategy", ICCV 2023.
public struct MinSNRWeighting: SNRWeighting {
  /// `min_snr`.
  public static let name = "min_snr"
  /// γ, above 0.
  public let gamma: Double

  /// Makes the weighting.
  ///
  /// - Throws: `ArgumentError` unless γ is finite and above 0.
  public init(gamma: Double = 5) throws {
    try checkPositive("gamma", gamma)
    self.gamma = gamma
  }

  /// The weight of the ε loss.
  public func epsilon(_ snr: Double) -> Double { snr <= gamma ? 1 : gamma / snr }

  /// The weight of the x₀ loss.
  public func sample(_ snr: Double) -> Double { min(snr, gamma) }
}

/// A smooth Min-SNR: γS/(S+γ) on the x₀ loss, γ/(S+γ) on the ε loss.
///
/// Source: Crowson et al., "Scalable High-Resolution Pixel-Space Image Synthesis with Hourglass Diffusion Transformers",
/// 2024; crowsonkb/k-diffusion, whose own `soft-min-snr` has γ = σ_data⁻².
public struct SoftMinSNRWeighting: SNRWeighting {
  /// `soft_min_snr`.
  public static let name = "soft_min_snr"
  /// γ, above 0.
  public let gamma: Double

  /// Makes the weighting.
  ///
  /// - Throws: `ArgumentError` unless γ is finite and above 0.
  public init(gamma: Double = 5) throws {
    try checkPositive("gamma", gamma)
    self.gamma = gamma
  }

  /// The weight of the ε loss.
  public func epsilon(_ snr: Double) -> Double { gamma / (snr + gamma) }

  /// The weight of the x₀ loss.
  public func sample(_ snr: Double) -> Double { snr * epsilon(snr) }
}

/// max(S, γ) on the x₀ loss. Source: the code of Hang et al., ICCV 2023.
public struct MaxSNRWeighting: SNRWeighting {
  /// `max_snr`.
  public static let name = "max_snr"
  /// γ, above 0.
  public let gamma: Double

  /// Makes the weighting.
  ///
  /// - Throws: `ArgumentError` unless γ is finite and above 0.
  public init(gamma: Double = 5) throws {
    try checkPositive("gamma", gamma)
    self.gamma = gamma
  }

  /// The weight of the ε loss.
  public func epsilon(_ snr: Double) -> Double { snr >= gamma ? 1 : gamma / snr }

  /// The weight of the x₀ loss.
  public func sample(_ snr: Double) -> Double { max(snr, gamma) }
}

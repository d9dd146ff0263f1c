/// S on the x₀ loss, which is 1 on the ε loss.
public struct SNRProportionalWeighting: SNRWeighting {
  /// `snr`.
  public static let name = "snr"
  /// Makes the weighting.
  public init() {}

  /// The weight of the ε loss.
  public func epsilon(_ snr: Double) -> Double { 1 }

  /// The weight of the x₀ loss.
  public func sample(_ snr: Double) -> Double { snr }
}

/// 1/S on the x₀ loss. Source: the code of Hang et al., ICCV 2023.
public struct InverseSNRWeighting: SNRWeighting {
  /// `inverse_snr`.
  public static let name = "inverse_snr"
  /// Makes the weighting.
  public init() {}

  /// The weight of the ε loss.
  public func epsilon(_ snr: Double) -> Double { 1 / snr / snr }

  /// The weight of the x₀ loss.
  public func sample(_ snr: Double) -> Double { 1 / snr }
}

/// max(S, 1) on the x₀ loss. Source: Salimans and Ho, "Progressive Distillation for Fast Sampling of Diffusion Models",
/// ICLR 2022.
public struct TruncatedSNRWeighting: SNRWeighting {
  /// `truncated_snr`.
  public static let name = "truncated_snr"
  /// Makes the weighting.
  public init() {}

  /// The weight of the ε loss.
  public func epsilon(_ snr: Double) -> Double { snr >= 1 ? 1 : 1 / snr }

  /// The weight of the x₀ loss.
  public func sample(_ snr: Double) -> Double { max(snr, 1) }
}

/// √S on the x₀ loss, 1/√S on the ε loss.
///
/// Source: Yu et al., "Unmasking Bias in Diffusion Model Training", ECCV 2024 (first "Debias the Training of Diffusion
/// Models", 2023).
public struct DebiasedWeighting: SNRWeighting {
  /// `debiased`.
  public static let name = "debiased"
  /// Makes the weighting.
  public init() {}

  /// The weight of the ε loss.
  public func epsilon(_ snr: Double) -> Double { 1 / snr.squareRoot() }

  /// The weight of the x₀ loss.
  public func sample(_ snr: Double) -> Double { snr.squareRoot() }
}

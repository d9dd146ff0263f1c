import NoiseSchedules

/// σ⁻² on the flow loss, with σ = 1/(1+√S): the `sigma_sqrt` of diffusers' training scripts.
///
/// Scripts that precondition the output multiply the x₀ loss by σ⁻² instead, which gives the plain flow loss. Source:
/// Hugging Face diffusers, `compute_loss_weighting_for_sd3`.
public struct SigmaSqrtWeighting: SNRWeighting {
  /// `sigma_sqrt`.
  public static let name = "sigma_sqrt"
  /// Makes the weighting.
  public init() {}

  /// The weight of the ε loss.
  public func epsilon(_ snr: Double) -> Double { sample(snr) / snr }

  /// The weight of the x₀ loss.
  public func sample(_ snr: Double) -> Double {
    let square = (1 + snr.squareRoot()) * (1 + snr.squareRoot())
    return square * square
  }
}

/// 2/(π(1-2σ+2σ²)) on the flow loss, with σ = 1/(1+√S): Stable Diffusion 3's CosMap as a weighting.
///
/// Source: Esser et al. 2024, Eq. 21; Hugging Face diffusers, `compute_loss_weighting_for_sd3`.
public struct CosMapWeighting: SNRWeighting {
  /// `cosmap`.
  public static let name = "cosmap"
  /// Makes the weighting.
  public init() {}

  /// The weight of the ε loss.
  public func epsilon(_ snr: Double) -> Double { sample(snr) / snr }

  /// The weight of the x₀ loss.
  public func sample(_ snr: Double) -> Double {
    // 1-2σ+2σ² = σ²(1+S), and the flow loss is the x₀ loss over σ².
    let square = (1 + snr.squareRoot()) * (1 + snr.squareRoot())
    return 2 / .pi / (1 + snr) * square * square
  }
}

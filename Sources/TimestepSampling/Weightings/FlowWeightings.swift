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

/// A bell over σ = 1/(1+√S) on the flow loss: exp(-2(σ-½)²) less its least value, scaled to mean 1 over σ = i/1000,
/// 0 ≤ i < 1000. It is 0 at σ = 1.
///
/// Source: ai-toolkit's "bell-shaped mean-normalized timestep weighting", whose i is a place in its list of steps, from
/// the noisiest on. NeMo Automodel and DiffSynth take i = 1000σ, as here; the bell is symmetric.
public struct BSMNTWWeighting: SNRWeighting {
  /// `bsmntw`.
  public static let name = "bsmntw"
  /// Makes the weighting.
  public init() {}

  /// The weight of the ε loss.
  public func epsilon(_ snr: Double) -> Double { sample(snr) / snr }

  /// The weight of the x₀ loss.
  public func sample(_ snr: Double) -> Double {
    let root = snr.squareRoot()
    let square = (1 + root) * (1 + root)
    // σ(1-σ), in which the bell is e^{-½}·(e^{2σ(1-σ)}-1).
    return Double.expMinusOne(2 * (root / square)) / Self.mean * square
  }

  /// The mean of e^{2σ(1-σ)}-1 over σ = i/1000.
  private static let mean =
    (0..<1000).reduce(0.0) { $0 + Double.expMinusOne(2 * Double($1) / 1000 * (1 - Double($1) / 1000)) } / 1000
}

/// 1 + shift·σ on the flow loss, with σ = 1/(1+√S). Source: NVIDIA NeMo Automodel, `flow_shift`, whose σ is the shifted
/// one that is drawn.
public struct LinearSigmaWeighting: SNRWeighting {
  /// `linear_sigma`.
  public static let name = "linear_sigma"
  /// The slope, at least 0.
  public let shift: Double

  /// Makes the weighting.
  ///
  /// - Throws: `ArgumentError` unless the shift is finite and at least 0.
  public init(shift: Double = 3) throws {
    guard shift >= 0, shift.isFinite else { throw ArgumentError("shift", "must be finite and at least 0", got: shift) }
    self.shift = shift
  }

  /// The weight of the ε loss.
  public func epsilon(_ snr: Double) -> Double { sample(snr) / snr }

  /// The weight of the x₀ loss.
  public func sample(_ snr: Double) -> Double {
    let root = 1 + snr.squareRoot()
    return (root + shift) * root
  }
}

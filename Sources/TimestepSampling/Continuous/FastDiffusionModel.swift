import NoiseSchedules

/// The momentum of the Fast Diffusion Model: the network's input is scaled by c_in = e^{-mb}(1+mb), with b = 0.1t + 9.95t²
/// and t = (σ-σ_min)/(σ_max-σ_min), in place of the process's own factor.
///
/// Source: Wu et al., "Fast Diffusion Model", 2023; sail-sg/FDM, `training/networks.py`, whose VE form ignores m.
public struct FastDiffusionModel: Sendable, Equatable {
  /// The noise level at which t is 0.
  public let sigmaMin: Double
  /// The noise level at which t is 1.
  public let sigmaMax: Double
  /// m, above 0.
  public let multiplier: Double

  /// Makes the momentum.
  ///
  /// - Throws: `ArgumentError` unless all are finite, 0 ≤ sigmaMin < sigmaMax and m > 0.
  public init(sigmaMin: Double, sigmaMax: Double, multiplier: Double = 2) throws {
    guard sigmaMin >= 0, sigmaMin.isFinite else {
      throw ArgumentError("sigma_min", "must be finite and at least 0", got: sigmaMin)
    }
    guard sigmaMax > sigmaMin, sigmaMax.isFinite else {
      throw ArgumentError("sigma_max", "must be finite and above sigma_min = \(sigmaMin)", got: sigmaMax)
    }
    try checkPositive("multiplier", multiplier)
    self.sigmaMin = sigmaMin
    self.sigmaMax = sigmaMax
    self.multiplier = multiplier
  }

  /// c_in at a noise level; 1 below sigmaMin, where b would be negative.
  public func inputScale(sigma: Double) -> Double {
    let t = max(0, (sigma - sigmaMin) / (sigmaMax - sigmaMin))
    let growth = multiplier * (0.1 * t + 9.95 * t * t)
    // e^{-x}(1+x), whose factors would be 0·∞ far beyond σ_max.
    return growth > 700 ? 0 : Double.exp(-growth) * (1 + growth)
  }
}

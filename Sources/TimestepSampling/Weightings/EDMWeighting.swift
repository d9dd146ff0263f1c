import NoiseSchedules

/// EDM's weighting: S + 1/σ_data² on the x₀ loss, which is (σ²+σ_data²)/(σ·σ_data)² with S = 1/σ².
///
/// Source: Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", 2022, Table 1.
public struct EDMWeighting: SNRWeighting {
  /// `edm`.
  public static let name = "edm"
  /// σ_data, the standard deviation of the data, above 0.
  public let sigmaData: Double

  /// Makes the weighting.
  ///
  /// - Throws: `ArgumentError` unless σ_data is finite and above 0.
  public init(sigmaData: Double = 0.5) throws {
    try checkPositive("sigma_data", sigmaData)
    self.sigmaData = sigmaData
  }

  /// The weight of the ε loss.
  public func epsilon(_ snr: Double) -> Double { 1 + 1 / (sigmaData * sigmaData * snr) }

  /// The weight of the x₀ loss.
  public func sample(_ snr: Double) -> Double { snr + 1 / (sigmaData * sigmaData) }
}

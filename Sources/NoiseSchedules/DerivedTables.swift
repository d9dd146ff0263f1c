/// Tables derived from ᾱ, each of shape (T,).
extension NoiseSchedule {
  /// α_i = 1-β_i.
  public var alphas: [Double] { betas.map { 1 - $0 } }

  /// √ᾱ_i, the factor of x₀ in x_t.
  public var sqrtAlphasCumprod: [Double] { alphasCumprod.map { $0.squareRoot() } }

  /// √(1-ᾱ_i), the factor of ε in x_t.
  public var sqrtOneMinusAlphasCumprod: [Double] { alphasCumprod.map { (1 - $0).squareRoot() } }

  /// The signal-to-noise ratio S_i = ᾱ_i/(1-ᾱ_i); 0 where ᾱ is 0.
  public var snr: [Double] { alphasCumprod.map { $0 / (1 - $0) } }

  /// λ_i = ln S_i; -∞ where ᾱ is 0.
  public var logSNR: [Double] { snr.map { Double.log($0) } }

  /// σ_i = √((1-ᾱ_i)/ᾱ_i), the noise level of the variance-exploding form (Karras et al. 2022); ∞ where ᾱ is 0.
  public var sigmas: [Double] { alphasCumprod.map { ((1 - $0) / $0).squareRoot() } }
}

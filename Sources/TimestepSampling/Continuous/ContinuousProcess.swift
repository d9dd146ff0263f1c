import NoiseSchedules

/// A diffusion process in continuous time, x = s(t)·x₀ + s(t)·σ(t)·ε, with its authors' training sampling and weight.
///
/// σ is the noise-to-signal ratio: S = 1/σ² and λ = ln S = -2·ln σ. Source: Karras et al., "Elucidating the Design Space of
/// Diffusion-Based Generative Models", 2022, Table 1. (Table 8 of the SpeeD paper gives d(σ²)/dt for σ̇ of VE and EDM.)
public struct ContinuousProcess: Sendable, Equatable {
  /// Which process, with its parameters.
  public enum Kind: Sendable, Equatable {
    /// s = 1/√(1+σ²), σ² = e^{½·betaD·t²+betaMin·t}-1; t is drawn uniformly in [epsilonT, 1].
    case variancePreserving(betaD: Double, betaMin: Double, epsilonT: Double)
    /// s = 1, σ² = t; ln σ is drawn uniformly in [ln sigmaMin, ln sigmaMax].
    case varianceExploding(sigmaMin: Double, sigmaMax: Double)
    /// s = 1, σ = t; ln σ is drawn from N(mean, std²).
    case edm(mean: Double, std: Double)
    /// Rectified flow: s = 1-t, σ = t/(1-t); t is drawn uniformly in [0, 1], 1 being noise.
    case flow
  }

  /// Which process.
  public let kind: Kind
  /// The standard deviation of the data, for the magnitude 1/ᾱ with ᾱ = 1/(1+σ²/sigmaData²).
  public let sigmaData: Double
  // The range of ln σ, which every quantile and mass needs.
  private let logSigmaLow: Double
  private let logSigmaHigh: Double

  /// Checks the parameters.
  ///
  /// - Throws: `ArgumentError` unless all are finite and betaD, betaMin, sigmaMin, std, sigmaData above 0, epsilonT in
  ///   (0, 1), sigmaMin < sigmaMax.
  public init(_ kind: Kind, sigmaData: Double) throws {
    switch kind {
    case .variancePreserving(let betaD, let betaMin, let epsilonT):
      try checkPositive("beta_d", betaD)
      try checkPositive("beta_min", betaMin)
      guard epsilonT > 0, epsilonT < 1 else {
        throw ArgumentError("epsilon_t", "must be in (0, 1)", got: epsilonT)
      }
      guard betaD / 2 + betaMin < 1400 else {
        throw ArgumentError("beta_d", "must keep beta_d/2 + beta_min below 1400, so that sigma is finite", got: betaD)
      }
    case .varianceExploding(let sigmaMin, let sigmaMax):
      try checkPositive("sigma_min", sigmaMin)
      try checkPositive("sigma_max", sigmaMax)
      guard sigmaMin < sigmaMax else {
        throw ArgumentError("sigma_max", "must be above sigma_min = \(sigmaMin)", got: sigmaMax)
      }
    case .edm(let mean, let std): _ = try LogNormalSampling(mean: mean, std: std)
    case .flow: break
    }
    try checkPositive("sigma_data", sigmaData)
    self.kind = kind
    self.sigmaData = sigmaData
    switch kind {
    case .variancePreserving(_, _, let epsilonT):
      (logSigmaLow, logSigmaHigh) = (
        Double.log(Self.sigma(of: kind, at: epsilonT)), Double.log(Self.sigma(of: kind, at: 1))
      )
    case .varianceExploding(let sigmaMin, let sigmaMax):
      (logSigmaLow, logSigmaHigh) = (Double.log(sigmaMin), Double.log(sigmaMax))
    case .edm, .flow: (logSigmaLow, logSigmaHigh) = (-.infinity, .infinity)
    }
  }

  /// The target whose loss the process's usual weight is for: x₀ for VP, VE and EDM, flow for rectified flow.
  public var prediction: PredictionTarget { kind == .flow ? .flow : .sample }

  /// The authors' sampling.
  var sampling: any NoiseLevelSampling {
    // The parameters were checked when the process was made.
    if case .edm(let mean, let std) = kind, let sampling = try? LogNormalSampling(mean: mean, std: std) {
      return sampling
    }
    return UniformSampling()
  }

  /// The authors' weight: 1/σ² for VP and VE, (σ²+sigmaData²)/(σ·sigmaData)² for EDM, 1 for rectified flow.
  var weighting: any Weighting {
    switch kind {
    case .variancePreserving, .varianceExploding: return SNRProportionalWeighting()
    case .edm: return (try? EDMWeighting(sigmaData: sigmaData)) ?? UniformWeighting()
    case .flow: return UniformWeighting()
    }
  }

  // MARK: The process in its own time

  /// σ(t).
  public func sigma(at t: Double) -> Double { Self.sigma(of: kind, at: t) }

  private static func sigma(of kind: Kind, at t: Double) -> Double {
    switch kind {
    case .variancePreserving(let betaD, let betaMin, _):
      return Double.expMinusOne((betaD / 2 * t + betaMin) * t).squareRoot()
    case .varianceExploding: return t.squareRoot()
    case .edm: return t
    case .flow: return t / (1 - t)
    }
  }

  /// dσ/dt; for VP (1+σ²)(betaD·t+betaMin)/(2σ), for VE 1/(2√t), for EDM 1, for rectified flow 1/(1-t)².
  public func sigmaDerivative(at t: Double) -> Double {
    switch kind {
    case .variancePreserving(let betaD, let betaMin, _):
      let sigma = sigma(at: t)
      return (sigma + 1 / sigma) * (betaD * t + betaMin) / 2
    case .varianceExploding: return 1 / (2 * t.squareRoot())
    case .edm: return 1
    case .flow: return 1 / ((1 - t) * (1 - t))
    }
  }

  /// s(t).
  public func scale(at t: Double) -> Double {
    switch kind {
    case .variancePreserving(let betaD, let betaMin, _): return Double.exp(-(betaD / 2 * t + betaMin) * t / 2)
    case .varianceExploding, .edm: return 1
    case .flow: return 1 - t
    }
  }

  // MARK: Noise levels as ln σ

  /// The range of ln σ.
  var logSigmaRange: (low: Double, high: Double) { (logSigmaLow, logSigmaHigh) }

  /// Whether the process has a variable u in [0, 1] of its own: t for VP and rectified flow, ln σ for VE.
  var isBounded: Bool {
    if case .edm = kind { return false }
    return true
  }

  /// ln σ at u, which is given from both ends. For EDM, which has no u, ln σ at the median.
  func logSigma(at u: Probability) -> Double {
    switch kind {
    case .variancePreserving(_, _, let epsilonT):
      return Double.log(sigma(at: epsilonT + (1 - epsilonT) * u.lower))
    case .varianceExploding:
      let (low, high) = logSigmaRange
      return low + (high - low) * u.lower
    case .flow: return Double.log(u.lower) - Double.log(u.upper)
    case .edm(let mean, _): return mean
    }
  }

  /// u at ln σ, in [0, 1].
  func unit(atLogSigma x: Double) -> Double {
    let (low, high) = logSigmaRange
    guard x > low else { return 0 }
    guard x < high else { return 1 }
    switch kind {
    case .variancePreserving(_, _, let epsilonT):
      return min(1, max(0, (time(ofLogSigma: x) - epsilonT) / (1 - epsilonT)))
    case .varianceExploding: return (x - low) / (high - low)
    case .flow: return 1 / (1 + Double.exp(-x))
    case .edm: return 0
    }
  }

  /// t at ln σ.
  func time(ofLogSigma x: Double) -> Double {
    switch kind {
    case .variancePreserving(let betaD, let betaMin, _):
      // ½·betaD·t² + betaMin·t = ln(1+σ²), without cancellation.
      let growth = x > 300 ? 2 * x : Double.log(onePlus: Double.exp(2 * x))
      return 2 * growth / (betaMin + (betaMin * betaMin + 2 * betaD * growth).squareRoot())
    case .varianceExploding: return Double.exp(2 * x)
    case .edm: return Double.exp(x)
    case .flow: return 1 / (1 + Double.exp(-x))
    }
  }

  /// |dλ/du| at ln σ; NaN for EDM, which has no u.
  func logSNRSlope(atLogSigma x: Double) -> Double {
    switch kind {
    case .variancePreserving(_, _, let epsilonT):
      let t = time(ofLogSigma: x)
      return 2 * (1 - epsilonT) * sigmaDerivative(at: t) / sigma(at: t)
    case .varianceExploding: return 2 * (logSigmaRange.high - logSigmaRange.low)
    case .flow: return 2 * (2 + Double.exp(x) + Double.exp(-x))
    case .edm: return .nan
    }
  }
}

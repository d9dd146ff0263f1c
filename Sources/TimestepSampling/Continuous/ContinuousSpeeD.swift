import NoiseSchedules

// SpeeDiff's own extension of SpeeD to continuous processes. The paper's Section 2.6 gives no usable rule: its rate is
// constant for VE and monotone for EDM. Here one magnitude serves every process, r = 1/ᾱ with ᾱ = 1/(1+σ²/σ_data²).

extension ContinuousProcess {
  /// ᾱ at ln σ: the share of the data's variance in x/s.
  func alphaBar(atLogSigma x: Double) -> Double { 1 / (1 + Double.exp(2 * x) / (sigmaData * sigmaData)) }

  /// |dᾱ/dv| at ln σ, rescaled to [0, 1], where v is the process's own variable: t for VP and rectified flow, ln σ for
  /// EDM and VE.
  func relativeRate() -> @Sendable (_ logSigma: Double) -> Double {
    switch kind {
    case .edm, .varianceExploding:
      // 2ᾱ(1-ᾱ), which comes near to 0 at both ends of the axis.
      return { x in
        let alphaBar = alphaBar(atLogSigma: x)
        return 4 * alphaBar * (1 - alphaBar)
      }
    case .variancePreserving, .flow:
      let (low, high) = (max(logSigmaRange.low, -40), min(logSigmaRange.high, 40))
      let least = kind == .flow ? 0 : min(rate(atLogSigma: low), rate(atLogSigma: high))
      let range = largestRate(low, high) - least
      return { x in min(1, max(0, (rate(atLogSigma: x) - least) / range)) }
    }
  }

  /// |dᾱ/dt| = 2ᾱ(1-ᾱ)·(dσ/dt)/σ.
  private func rate(atLogSigma x: Double) -> Double {
    let alphaBar = alphaBar(atLogSigma: x)
    if kind == .flow {
      // (dσ/dt)/σ = 1/(t(1-t)), finite products at both ends.
      return 2 * alphaBar * (1 - alphaBar) * (2 + Double.exp(x) + Double.exp(-x))
    }
    let t = time(ofLogSigma: x)
    return 2 * alphaBar * (1 - alphaBar) * sigmaDerivative(at: t) / sigma(at: t)
  }

  /// The largest rate, by golden-section search around the best of a grid in ln σ.
  private func largestRate(_ low: Double, _ high: Double) -> Double {
    let spacing = (high - low) / 1000
    let best = (0...1000).map { low + spacing * Double($0) }.max { rate(atLogSigma: $0) < rate(atLogSigma: $1) } ?? low
    var (a, b) = (max(low, best - spacing), min(high, best + spacing))
    let golden = (5.0.squareRoot() - 1) / 2
    for _ in 0..<60 {
      let (c, d) = (b - golden * (b - a), a + golden * (b - a))
      if rate(atLogSigma: c) > rate(atLogSigma: d) { b = d } else { a = c }
    }
    return rate(atLogSigma: (a + b) / 2)
  }
}

extension AsymmetricSampling: NoiseLevelSampling {
  /// The process's own sampling, where σ > σ_τ = σ_data·√(r-1) is drawn k times less often than the rest.
  ///
  /// - Throws: `ArgumentError` unless the threshold is a magnitude and the process draws on both sides of σ_τ.
  public func levels(of process: ContinuousProcess) throws -> any NoiseLevels {
    guard case .magnitude(let r) = threshold else {
      throw ArgumentError(
        "sampling", "must have r for a continuous process, which has no steps", got: "tau; pass r instead")
    }
    let base = try process.sampling.levels(of: process)
    let logSigmaTau = Double.log(process.sigmaData) + Double.log(r - 1) / 2
    let (below, above) = (
      base.mass(from: -.infinity, to: logSigmaTau, at: 0), base.mass(from: logSigmaTau, to: .infinity, at: 0)
    )
    guard below > 0, above > 0 else {
      throw ArgumentError(
        "r", "must put σ_τ = σ_data·√(r-1) in the range that the process draws",
        got: "\(r), where σ_τ = \(Double.exp(logSigmaTau))")
    }
    return SuppressedLevels(base: base, k: k, threshold: logSigmaTau, below: below, above: above)
  }
}

private struct SuppressedLevels: NoiseLevels {
  let base: any NoiseLevels
  let k: Double
  let threshold: Double
  let below: Double
  let above: Double

  /// The mass below the threshold times k, plus the mass above it.
  private var total: Double { k * below + above }

  func logSigma(_ p: Probability, at step: UInt64) -> Double {
    // The part above the threshold is measured from the upper end.
    let upper = p.upper * total
    if upper < above { return base.logSigma(Probability(lower: 1 - upper, upper: upper), at: step) }
    let lower = min(p.lower * total / k, below)
    return base.logSigma(Probability(lower: lower, upper: 1 - lower), at: step)
  }

  func mass(from: Double, to: Double, at step: UInt64) -> Double {
    let low = from < threshold ? k * base.mass(from: from, to: min(to, threshold), at: step) : 0
    let high = to > threshold ? base.mass(from: max(from, threshold), to: to, at: step) : 0
    return (low + high) / total
  }

  var isFixed: Bool { base.isFixed }
  var turns: [UInt64] { base.turns }
}

/// The process increment δ_t = x_{t+1} - x_t of a schedule, and the three areas that it divides the process into:
/// acceleration (t ≤ t_ad), deceleration, and convergence (t ≥ t_dc(r)).
///
/// Exact forms, for any schedule. Source: Wang et al., "A Closer Look at Time Steps is Worthy of Triple Speed-Up for
/// Diffusion Model Training" (SpeeD), CVPR 2025, Theorem 1. Steps are 1-based here, as in the paper.
///
/// Note: the paper's variance Ψ_t is that of *independent* draws of x_t and x_{t+1}. For the Markov chain itself it
/// would be β_{t+1} + (1-√α_{t+1})²(1-ᾱ_t), which never converges. The paper's φ_t lacks a bar: its factor is √ᾱ_t.
public struct ProcessIncrements: Sendable {
  /// φ_t/x₀ = (√α_{t+1}-1)·√ᾱ_t for t = 1…T-1: the factor of the data in the increment's mean. Shape (T-1,).
  public let meanFactor: [Double]
  /// Ψ_t = 2 - ᾱ_t(1+α_{t+1}) for t = 1…T-1. Shape (T-1,).
  public let variance: [Double]
  /// How fast the process changes: the discrete gradient of 1-ᾱ, central inside and one-sided at both ends
  /// (`numpy.gradient`). Shape (T,).
  public let rate: [Double]
  /// r_t = 1/ᾱ_t; ∞ where ᾱ is 0. Shape (T,).
  public let magnitude: [Double]
  /// t_ad, the step at which the rate is largest: the end of the acceleration area.
  public let accelerationEnd: Int

  /// Computes the increments of a schedule.
  public init(of schedule: NoiseSchedule) {
    let alphasCumprod = schedule.alphasCumprod
    let next = schedule.betas.dropFirst().map { 1 - $0 }
    meanFactor = zip(alphasCumprod, next).map { alphaBar, alpha in (alpha.squareRoot() - 1) * alphaBar.squareRoot() }
    variance = zip(alphasCumprod, next).map { alphaBar, alpha in 2 - alphaBar * (1 + alpha) }
    rate = gradient(alphasCumprod.map { 1 - $0 })
    magnitude = alphasCumprod.map { 1 / $0 }
    accelerationEnd = firstIndexOfMaximum(rate) + 1
  }

  /// t_dc(r), the first step t with r_t > r: where the convergence area begins.
  ///
  /// - Parameter r: the magnitude, finite and above 1. The paper's linear schedule at T = 1000 gives τ = 700 for 143.5.
  /// - Throws: `ArgumentError` if r is out of range, or if no step qualifies; the error then states 1/ᾱ_T.
  public func convergenceStart(r: Double) throws -> Int {
    try checkMagnitude(r)
    guard let index = magnitude.firstIndex(where: { $0 > r }) else {
      let last = magnitude[magnitude.count - 1]
      throw ArgumentError(
        "r", "must be below 1/alphas_cumprod at the last step, which is \(last) for this schedule",
        got: "\(r); choose a smaller r, or give tau")
    }
    return index + 1
  }
}

/// Throws unless `r` is a magnitude: finite and above 1.
func checkMagnitude(_ r: Double) throws {
  guard r > 1, r.isFinite else { throw ArgumentError("r", "must be finite and above 1", got: r) }
}

/// Differences per index, central inside and one-sided at both ends. Needs at least two values.
package func gradient(_ values: [Double]) -> [Double] {
  let last = values.count - 1
  return values.indices.map { i in
    switch i {
    case 0: values[1] - values[0]
    case last: values[last] - values[last - 1]
    default: (values[i + 1] - values[i - 1]) / 2
    }
  }
}

/// The first index of the largest value. Needs at least one value.
private func firstIndexOfMaximum(_ values: [Double]) -> Int {
  values.indices.reduce(0) { best, i in values[i] > values[best] ? i : best }
}

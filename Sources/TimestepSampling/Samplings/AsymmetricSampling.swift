import NoiseSchedules

/// SpeeD's asymmetric sampling: steps of the convergence area are drawn k times less often than the others.
///
///     P_i = k/(T+τ(k-1)) for i < τ, 1/(T+τ(k-1)) beyond        (Wang et al. 2025, Eq. 2)
///
/// The paper uses k = 5 (Table 5b), and k = 2 for DiT-S/8 with batch 16 (Table 12).
public struct AsymmetricSampling: Sampling {
  /// Where suppression begins.
  public enum Threshold: Sendable, Equatable {
    /// τ itself: the first τ steps are not suppressed; 0 < τ < T.
    case step(Int)
    /// τ = t_dc(r), the first step t with 1/ᾱ_t > r; `ProcessIncrements.convergenceStart(r:)`.
    case magnitude(Double)

    /// Section 2.3 with r = 143.5, which puts τ at 700 for the paper's linear schedule with T = 1000.
    public static let paper = Threshold.magnitude(143.5)
  }

  /// The suppression intensity, ≥ 1.
  public let k: Double
  /// Where suppression begins.
  public let threshold: Threshold

  /// Makes the sampling.
  ///
  /// - Throws: `ArgumentError` unless k is finite and at least 1, τ above 0, r finite and above 1. Whether the threshold
  ///   fits a schedule is checked when a sampler is made.
  public init(k: Double = 5, threshold: Threshold = .paper) throws {
    guard k >= 1 else { throw ArgumentError("k", "must be at least 1", got: k) }
    guard k.isFinite else { throw ArgumentError("k", "must be finite", got: k) }
    switch threshold {
    case .step(let tau):
      guard tau > 0 else { throw ArgumentError("tau", "must be above 0", got: tau) }
    case .magnitude(let r):
      guard r > 1, r.isFinite else { throw ArgumentError("r", "must be finite and above 1", got: r) }
    }
    self.k = k
    self.threshold = threshold
  }

  /// τ for a schedule.
  ///
  /// - Throws: `ArgumentError` unless τ < T, or if no step reaches the magnitude.
  public func tau(for schedule: NoiseSchedule) throws -> Int {
    switch threshold {
    case .step(let tau):
      guard tau < schedule.steps else {
        throw ArgumentError("tau", "must be below the number of steps (\(schedule.steps))", got: tau)
      }
      return tau
    case .magnitude(let r):
      let tau = try ProcessIncrements(of: schedule).convergenceStart(r: r)
      guard tau < schedule.steps else {
        throw ArgumentError(
          "r",
          "must put tau below the number of steps (\(schedule.steps)); 1/alphas_cumprod exceeds r only at the "
            + "last step, where it is \(1 / schedule.alphasCumprod[schedule.steps - 1])",
          got: "\(r); choose a smaller r, or give tau")
      }
      return tau
    }
  }

  /// Eq. 2.
  ///
  /// - Throws: `ArgumentError` if the threshold does not fit the schedule, or k overflows.
  public func probabilities(for schedule: NoiseSchedule) throws -> [Double] {
    let tau = try tau(for: schedule)
    let total = Double(schedule.steps) + Double(tau) * (k - 1)
    guard total.isFinite else {
      throw ArgumentError("k", "must leave T + tau·(k - 1) finite, with tau = \(tau)", got: k)
    }
    return (0..<schedule.steps).map { $0 < tau ? k / total : 1 / total }
  }
}

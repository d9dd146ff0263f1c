import NoiseSchedules

/// SpeeD's change-aware weighting: steps at which the process changes fast count more.
///
///     w = (1-λ) + (2λ-1)·(g-g_min)/(g_max-g_min)        (Wang et al. 2025, Section 2.4)
///
/// g is the rate of `ProcessIncrements` and the extremes run over all T steps, so that w lies in [1-λ, λ]. The same
/// table serves every prediction target: the paper's weight multiplies whatever loss is trained. The paper's clamps
/// (`min{1, max}` and `max{0, min}`) are inactive for a rate per step, and none is applied.
public struct ChangeAwareWeighting: Weighting {
  /// λ, the symmetry ceiling in [0.5, 1].
  public let lam: Double

  /// Makes the weighting.
  ///
  /// - Throws: `ArgumentError` unless λ is in [0.5, 1]; above 1 weights would be negative.
  public init(lam: Double = 0.6) throws {
    guard lam >= 0.5, lam <= 1 else { throw ArgumentError("lam", "must be in [0.5, 1]", got: lam) }
    self.lam = lam
  }

  /// w, for any target.
  ///
  /// - Throws: `ArgumentError` if T < 3, or if the rate varies by less than a part in 10⁹.
  public func weights(for schedule: NoiseSchedule, prediction: PredictionTarget?) throws -> [Double] {
    guard schedule.steps >= 3 else {
      throw ArgumentError("schedule", "must have at least 3 steps for change-aware weighting", got: schedule.steps)
    }
    let rate = ProcessIncrements(of: schedule).rate
    let (least, most) = rate.reduce((rate[0], rate[0])) { (Swift.min($0.0, $1), Swift.max($0.1, $1)) }
    // If the rates differ only by rounding, rescaling them would make the weights noise.
    guard most - least > 1e-9 * most else {
      throw ArgumentError(
        "schedule", "must change at a rate that varies for change-aware weighting",
        got: "rates from \(least) to \(most)")
    }
    return rate.map { (1 - lam) + (2 * lam - 1) * ($0 - least) / (most - least) }
  }
}

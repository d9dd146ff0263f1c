import NoiseSchedules

/// SpeeD's two presets. The paper and the released code differ; each is reproduced exactly.
extension TimestepSampler {
  /// `paper`: asymmetric sampling (Eq. 2) with change-aware weights in [1-λ, λ] for all steps (Section 2.4).
  ///
  /// - Parameters:
  ///   - schedule: the noise schedule.
  ///   - k: the suppression intensity, ≥ 1.
  ///   - threshold: where suppression begins.
  ///   - lam: λ in [0.5, 1].
  ///   - options: seed, layout, strata and normalization.
  /// - Throws: `ArgumentError` if a parameter is out of range or does not fit the schedule.
  public static func speed(
    schedule: NoiseSchedule, k: Double = 5, threshold: AsymmetricSampling.Threshold = .paper, lam: Double = 0.6,
    options: SamplerOptions
  ) throws -> TimestepSampler {
    try TimestepSampler(
      schedule: schedule, sampling: AsymmetricSampling(k: k, threshold: threshold),
      weighting: ChangeAwareWeighting(lam: lam), options: options)
  }

  /// `official`: what the released code does, which is not Eq. 2 and depends on the batch size.
  ///
  /// n÷2+1 entries of each call's own batch of n are drawn from Eq. 2 and the others are their duals (`DualPairing`);
  /// weights are change-aware up to τ and 1 beyond. Nominal k = 5 acts as 5.0, 8.3, 9.8, 10.3 for n = 1–2, 8, 32, 256.
  /// Parameters and errors are those of `speed`, except that strata are an error and τ is 700 by default.
  public static func officialSpeed(
    schedule: NoiseSchedule, k: Double = 5, threshold: AsymmetricSampling.Threshold = .step(700), lam: Double = 0.6,
    options: SamplerOptions
  ) throws -> TimestepSampler {
    let sampling = try AsymmetricSampling(k: k, threshold: threshold)
    return try TimestepSampler(
      schedule: schedule, sampling: sampling,
      weighting: OfficialSpeeDWeighting(changeAware: ChangeAwareWeighting(lam: lam), sampling: sampling),
      options: options,
      pairing: DualPairing(for: schedule))
  }
}

/// The released code's weights: change-aware for t ≤ τ, and 1 beyond.
private struct OfficialSpeeDWeighting: Weighting {
  let changeAware: ChangeAwareWeighting
  let sampling: AsymmetricSampling

  func weights(for schedule: NoiseSchedule, prediction: PredictionTarget?) throws -> [Double] {
    let tau = try sampling.tau(for: schedule)
    return try changeAware.weights(for: schedule, prediction: prediction).enumerated().map { $0 < tau ? $1 : 1 }
  }
}

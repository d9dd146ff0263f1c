import NoiseSchedules

/// What a method asks the network to learn: the product P·w for the ε loss, as a density over λ = ln S.
///
///     E(λ_i) = P_i·w_eps,i/|dλ/di|, with Σ E·|dλ/di| = 1
///
/// Two methods with the same emphasis train the same objective, whatever their schedules. Only the variance of the
/// gradient differs. dλ/di is the discrete gradient (`numpy.gradient`). Entries with S = 0 are left out.
public struct Emphasis: Sendable {
  /// λ, falling.
  public let logSNR: [Double]
  /// E at each λ.
  public let density: [Double]

  /// Takes a density, normalized or not.
  ///
  /// - Parameters:
  ///   - logSNR: at least two values of λ, finite and falling.
  ///   - density: one value for each λ, finite and ≥ 0.
  /// - Throws: `ArgumentError` that names the first invalid value.
  public init(logSNR: [Double], density: [Double]) throws {
    guard logSNR.count > 1 else { throw ArgumentError("log_snr", "must have at least 2 entries", got: logSNR.count) }
    guard density.count == logSNR.count else {
      throw ArgumentError("emphasis", "must have as many entries as log_snr (\(logSNR.count))", got: density.count)
    }
    for (i, value) in logSNR.enumerated() {
      guard value.isFinite, i == 0 || value < logSNR[i - 1] else {
        throw ArgumentError("log_snr[\(i)]", "must be finite and below the entry before it", got: value)
      }
    }
    for (i, value) in density.enumerated() where !(value >= 0 && value.isFinite) {
      throw ArgumentError("emphasis[\(i)]", "must be finite and at least 0", got: value)
    }
    self.logSNR = logSNR
    self.density = density
  }

  /// The emphasis of P and w.
  ///
  /// - Parameters:
  ///   - schedule: the schedule of T steps.
  ///   - probabilities: P, shape (T,).
  ///   - weights: w, shape (T,).
  ///   - prediction: the target that w is for.
  /// - Throws: `ArgumentError` if no entry with S > 0 has weight, or fewer than two have S > 0.
  public init(
    of schedule: NoiseSchedule, probabilities: [Double], weights: [Double], prediction: PredictionTarget
  ) throws {
    let (snr, logSNR) = (schedule.snr, Self.finiteLogSNR(of: schedule))
    guard logSNR.count > 1 else {
      throw ArgumentError(
        "schedule", "must have at least two steps with a signal-to-noise ratio above 0", got: logSNR.count)
    }
    try self.init(
      logSNR: logSNR,
      masses: logSNR.indices.map { probabilities[$0] * prediction.epsilonWeight(weights[$0], snr: snr[$0]) })
  }

  /// The emphasis of masses of P·w_eps at falling λ.
  init(logSNR: [Double], masses: [Double]) throws {
    let shares = try normalized(masses, "weighting", "must give finite weights, some above 0, to steps with S > 0")
    try self.init(logSNR: logSNR, density: zip(shares, Self.widths(of: logSNR)).map { $0 / $1 })
  }

  /// Each step's share of the emphasis, with sum 1: E interpolated between its λ, and 0 beyond.
  ///
  /// - Throws: `ArgumentError` if E is 0 over the schedule's range of λ.
  func shares(on schedule: NoiseSchedule) throws -> [Double] {
    let logSNR = Self.finiteLogSNR(of: schedule)
    var place = 0
    let masses = zip(logSNR, logSNR.count > 1 ? Self.widths(of: logSNR) : [1]).map { target, width in
      while place < self.logSNR.count - 1, self.logSNR[place + 1] > target { place += 1 }
      return width * value(at: target, near: place)
    }
    return try normalized(masses, "weighting", "to_emphasis must have emphasis in the schedule's range of log-SNR")
      + [Double](repeating: 0, count: schedule.steps - logSNR.count)
  }

  /// E at a λ, interpolated; 0 beyond its ends.
  func density(at target: Double) -> Double {
    var (low, high) = (0, logSNR.count - 1)
    guard target <= logSNR[low], target >= logSNR[high] else { return 0 }
    while high - low > 1 {
      let middle = (low + high) / 2
      if logSNR[middle] >= target { low = middle } else { high = middle }
    }
    return value(at: target, near: low)
  }

  private func value(at target: Double, near place: Int) -> Double {
    if target == logSNR[place] { return density[place] }
    guard target < logSNR[place], place + 1 < logSNR.count else { return 0 }
    let share = (logSNR[place] - target) / (logSNR[place] - logSNR[place + 1])
    return (1 - share) * density[place] + share * density[place + 1]
  }

  private static func finiteLogSNR(of schedule: NoiseSchedule) -> [Double] {
    schedule.logSNR.filter { $0 > -.infinity }
  }

  /// |dλ/di|.
  private static func widths(of logSNR: [Double]) -> [Double] { gradient(logSNR).map { abs($0) } }
}

import NoiseSchedules

/// A sampling of the noise level that is given in λ = ln S.
///
/// It is cut into one bin per step of a schedule (`LogSNRBins`), and renormalized to the schedule's range.
public protocol LogSNRSampling: Sampling, NoiseLevelSampling {
  /// The probability of [from, to], from ≤ to, which may be infinite.
  func mass(from: Double, to: Double) -> Double

  /// The quantile of λ at a probability.
  func quantile(_ p: Probability) -> Double
}

extension LogSNRSampling {
  /// The masses of the steps' bins.
  ///
  /// - Throws: `ArgumentError` if the density is 0 over the schedule's range.
  public func probabilities(for schedule: NoiseSchedule) throws -> [Double] {
    try LogSNRBins(of: schedule).probabilities { mass(from: $0, to: $1) }
  }

  /// The quantile by bisection, for samplings without a formula.
  public func quantile(_ p: Probability) -> Double {
    let (low, high) = (-1e4, 1e4)
    return p.lower < 0.5
      ? bisect(low, high, for: p.lower) { mass(from: -.infinity, to: $0) }
      : bisect(low, high, for: -p.upper) { -mass(from: $0, to: .infinity) }
  }
}

/// One interval of λ for each step of a schedule, with edges midway between neighbours. The outer edges are the first
/// and the last λ; a last step with S = 0 has no interval.
struct LogSNRBins {
  /// Falling, one more than there are intervals.
  let edges: [Double]
  private let steps: Int

  init(of schedule: NoiseSchedule) {
    let logSNR = schedule.logSNR.filter { $0 > -.infinity }
    edges =
      [logSNR[0]] + zip(logSNR, logSNR.dropFirst()).map { $0 + ($1 - $0) / 2 } + [logSNR[logSNR.count - 1]]
    steps = schedule.steps
  }

  /// P of each step, from the probability of an interval [from, to] of λ. A step with S = 0 gets `atZero`.
  func probabilities(atZero: Double = 0, _ mass: (_ from: Double, _ to: Double) -> Double) throws -> [Double] {
    var masses = zip(edges.dropFirst(), edges).map { mass($0, $1) }
    if masses.count < steps { masses.append(atZero) }
    return try normalized(
      masses, "sampling",
      "must have some probability in the schedule's range of log-SNR, \(edges[edges.count - 1]) to \(edges[0])")
  }
}

import NoiseSchedules

/// A sampling of the noise level that also works for a continuous process.
public protocol NoiseLevelSampling: Sampling {
  /// The distribution of the noise levels of a process.
  ///
  /// - Throws: `ArgumentError` if the sampling does not fit the process.
  func levels(of process: ContinuousProcess) throws -> any NoiseLevels
}

/// A distribution of ln σ; it may follow the training step.
public protocol NoiseLevels: Sendable {
  /// The quantile of ln σ at a probability. It grows with the probability, except for mixtures.
  func logSigma(_ p: Probability, at step: UInt64) -> Double

  /// The probability of ln σ in [from, to], which may be infinite.
  func mass(from: Double, to: Double, at step: UInt64) -> Double

  /// Whether `logSigma` grows with the probability and is the same at every training step.
  var hasFixedQuantiles: Bool { get }

  /// The training steps at which other noise levels may begin to be drawn, the first one included.
  var turns: [UInt64] { get }
}

extension NoiseLevels {
  /// Yes, as for all but mixtures and what follows the training step.
  public var hasFixedQuantiles: Bool { true }

  /// The same noise levels can always be drawn.
  public var turns: [UInt64] { [0] }
}

extension Sampling {
  /// The noise levels of a process, where the sampling has such a form.
  func levels(in process: ContinuousProcess, _ argument: String) throws -> any NoiseLevels {
    guard let sampling = self as? any NoiseLevelSampling else {
      throw ArgumentError(
        argument, "must be a density of the noise level for a continuous process", got: "one of timesteps alone")
    }
    return try sampling.levels(of: process)
  }
}

// MARK: Samplings in u

extension UnitSampling {
  /// u of the process's own variable.
  public func levels(of process: ContinuousProcess) throws -> any NoiseLevels {
    guard process.isBounded else {
      throw ArgumentError(
        "sampling", "must be a density in ln σ or λ for EDM, which has no variable in [0, 1]", got: "one in u")
    }
    return UnitLevels(sampling: self, process: process)
  }
}

private struct UnitLevels<Method: UnitSampling>: NoiseLevels {
  let sampling: Method
  let process: ContinuousProcess

  func logSigma(_ p: Probability, at step: UInt64) -> Double { process.logSigma(at: sampling.quantile(p)) }

  func mass(from: Double, to: Double, at step: UInt64) -> Double {
    sampling.mass(from: process.unit(atLogSigma: from), to: process.unit(atLogSigma: to))
  }
}

// MARK: Samplings in λ

extension LogSNRSampling {
  /// λ = -2·ln σ, cut to the process's range.
  public func levels(of process: ContinuousProcess) throws -> any NoiseLevels {
    let (low, high) = process.logSigmaRange
    let (below, above) = (mass(from: -.infinity, to: -2 * high), mass(from: -2 * low, to: .infinity))
    let width = mass(from: -2 * high, to: -2 * low)
    guard width >= .leastNormalMagnitude else {
      throw ArgumentError(
        "sampling", "must be able to draw the process's ln σ, between \(low) and \(high)",
        got: "a probability of \(width)")
    }
    return LogSNRLevels(sampling: self, below: below, width: width, above: above, range: (low, high))
  }
}

private struct LogSNRLevels<Method: LogSNRSampling>: NoiseLevels {
  let sampling: Method
  let below: Double
  let width: Double
  let above: Double
  let range: (low: Double, high: Double)

  func logSigma(_ p: Probability, at step: UInt64) -> Double {
    // λ falls as noise grows.
    let flipped = Probability(lower: p.upper, upper: p.lower)
    let x = -sampling.quantile(flipped.rescaled(begin: below, width: width, end: above)) / 2
    return min(range.high, max(range.low, x))
  }

  func mass(from: Double, to: Double, at step: UInt64) -> Double {
    let (from, to) = (max(from, range.low), min(to, range.high))
    return from < to ? sampling.mass(from: -2 * to, to: -2 * from) / width : 0
  }
}

// MARK: Combinations

extension MixtureSampling: NoiseLevelSampling {
  /// Both parts.
  public func levels(of process: ContinuousProcess) throws -> any NoiseLevels {
    try PairLevels(a: a.levels(in: process, "a"), b: b.levels(in: process, "b"), share: .fixed(share))
  }
}

extension BlendSampling: NoiseLevelSampling {
  /// Both parts, and the share that follows the training step.
  public func levels(of process: ContinuousProcess) throws -> any NoiseLevels {
    try PairLevels(
      a: first.levels(in: process, "first"), b: second.levels(in: process, "second"),
      share: .falling(from: UInt64(startStep), to: UInt64(endStep)))
  }
}

/// The lower part of the probabilities goes to the first sampling, the upper one to the second.
private struct PairLevels: NoiseLevels {
  let a: any NoiseLevels
  let b: any NoiseLevels
  let share: Share

  let hasFixedQuantiles = false
  var turns: [UInt64] { a.turns + b.turns + share.turns }

  func logSigma(_ p: Probability, at step: UInt64) -> Double {
    let share = share.value(at: step)
    if p.lower < share {
      return a.logSigma(Probability(lower: p.lower / share, upper: (share - p.lower) / share), at: step)
    }
    let rest = 1 - share
    return b.logSigma(Probability(lower: (p.lower - share) / rest, upper: p.upper / rest), at: step)
  }

  func mass(from: Double, to: Double, at step: UInt64) -> Double {
    let share = share.value(at: step)
    return share * a.mass(from: from, to: to, at: step) + (1 - share) * b.mass(from: from, to: to, at: step)
  }
}

extension ShiftedSampling: NoiseLevelSampling {
  /// σ of EDM, and t/(1-t) of rectified flow, times the shift.
  public func levels(of process: ContinuousProcess) throws -> any NoiseLevels {
    guard process.logSigmaRange.high == .infinity else {
      throw ArgumentError(
        "sampling", "must not be shifted for VP and VE, which have a largest noise level", got: "a shift of \(shift)")
    }
    return ShiftedLevels(base: try base.levels(in: process, "base"), distance: distance / 2)
  }
}

private struct ShiftedLevels: NoiseLevels {
  let base: any NoiseLevels
  let distance: Double

  var hasFixedQuantiles: Bool { base.hasFixedQuantiles }
  var turns: [UInt64] { base.turns }

  func logSigma(_ p: Probability, at step: UInt64) -> Double { base.logSigma(p, at: step) + distance }

  func mass(from: Double, to: Double, at step: UInt64) -> Double {
    base.mass(from: from - distance, to: to - distance, at: step)
  }
}

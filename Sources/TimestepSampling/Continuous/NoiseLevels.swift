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

  /// Whether it stays the same over training, so that a table can stand for the quantile. False unless said.
  var isFixed: Bool { get }

  /// Whether `logSigma` grows with the probability at every training step. True unless said.
  var isMonotone: Bool { get }

  /// The training steps at which other noise levels may begin to be drawn, the first one included.
  var turns: [UInt64] { get }

  /// The same distribution before it was cut to the process's range: what lay outside counts too, where `moved` moves it
  /// into the range. nil unless said: nothing lay outside.
  var uncut: (any NoiseLevels)? { get }

  /// The distribution of ln σ + distance, cut to the process's range and renormalized.
  ///
  /// - Throws: `ArgumentError` with this argument if nothing is left in the range.
  func moved(by distance: Double, at step: UInt64, in process: ContinuousProcess, _ argument: String) throws
    -> any NoiseLevels
}

extension NoiseLevels {
  /// No.
  public var isFixed: Bool { false }

  /// Yes, as for all but mixtures.
  public var isMonotone: Bool { true }

  /// The same noise levels can always be drawn.
  public var turns: [UInt64] { [0] }

  /// Nothing lay outside.
  public var uncut: (any NoiseLevels)? { nil }
}

extension Sampling {
  /// The noise levels of a process, where the sampling has such a form.
  func levels(in process: ContinuousProcess, _ argument: String) throws -> any NoiseLevels {
    guard let sampling = self as? any NoiseLevelSampling else {
      throw ArgumentError(
        argument, "must be a density of the noise level for a continuous process",
        got: self is any LearningLevelSampling
          ? "one that learns from losses; use it without a shift or a sampling around it" : "one of timesteps alone")
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

  var isFixed: Bool { true }
}

// MARK: Samplings in λ

extension LogSNRSampling {
  /// λ = -2·ln σ, cut to the process's range.
  public func levels(of process: ContinuousProcess) throws -> any NoiseLevels {
    try LogSNRLevels(sampling: self, range: process.logSigmaRange, "sampling")
  }
}

/// ln σ = -λ/2 within a range.
private struct LogSNRLevels<Method: LogSNRSampling>: NoiseLevels {
  private let sampling: Method
  private let range: (low: Double, high: Double)
  private let below: Double
  private let width: Double
  private let above: Double
  let uncut: (any NoiseLevels)?

  init(sampling: Method, range: (low: Double, high: Double), _ argument: String) throws {
    self.init(sampling: sampling, range: range)
    try checkWidth(width, in: range, argument)
  }

  private init(sampling: Method, range: (low: Double, high: Double)) {
    let (least, most) = (-2 * range.high, -2 * range.low)
    self.sampling = sampling
    self.range = range
    below = sampling.mass(from: -.infinity, to: least)
    width = sampling.mass(from: least, to: most)
    above = sampling.mass(from: most, to: .infinity)
    uncut = range.high < .infinity ? LogSNRLevels(sampling: sampling, range: (-.infinity, .infinity)) : nil
  }

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

  var isFixed: Bool { true }
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

  let isMonotone = false
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

  var isFixed: Bool {
    if case .fixed = share { return a.isFixed && b.isFixed }
    return false
  }

  /// Both parts keep their shares.
  func moved(by distance: Double, at step: UInt64, in process: ContinuousProcess, _ argument: String) throws
    -> any NoiseLevels
  {
    try PairLevels(
      a: a.moved(by: distance, at: step, in: process, argument),
      b: b.moved(by: distance, at: step, in: process, argument), share: share)
  }
}

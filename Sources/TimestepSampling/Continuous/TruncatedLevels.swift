import NoiseSchedules

extension TruncatedSampling: NoiseLevelSampling {
  /// The base's noise levels within [low, high).
  ///
  /// - Throws: `ArgumentError` if the bounds are steps or outside the process, or the base has no probability there.
  public func levels(of process: ContinuousProcess) throws -> any NoiseLevels {
    guard case .levels(let low, let high) = bounds else {
      throw ArgumentError(
        "sampling", "must be truncated to [low, high) for a continuous process, which has no steps",
        got: "start and end")
    }
    guard process.kind != .flow || low < 1 else {
      throw ArgumentError("low", "must be below 1 for rectified flow", got: low)
    }
    guard process.kind != .flow || high <= 1 || high == .infinity else {
      throw ArgumentError("high", "must be at most 1 for rectified flow", got: high)
    }
    let levels = TruncatedLevels(
      base: try base.levels(in: process, "base"), low: process.logSigma(ofLevel: low),
      high: process.logSigma(ofLevel: high))
    // What training comes to later is checked at the start.
    for step in levels.turns {
      let width = levels.width(at: step)
      guard width >= .leastNormalMagnitude else {
        throw ArgumentError(
          "base", "must have probability between low = \(low) and high = \(high)",
          got: step == 0 ? "a probability of \(width)" : "a probability of \(width) at training step \(step)")
      }
    }
    return levels
  }
}

extension ContinuousProcess {
  /// ln σ of what a training loop takes: t for rectified flow, σ for the others.
  func logSigma(ofLevel level: Double) -> Double {
    guard kind == .flow else { return Double.log(level) }
    return level < 1 ? Double.log(level) - Double.log(onePlus: -level) : .infinity
  }
}

private struct TruncatedLevels: NoiseLevels {
  let base: any NoiseLevels
  let low: Double
  let high: Double
  /// The probabilities of the base below, within and above the bounds, where they never change.
  private let fixed: (below: Double, width: Double, above: Double)?

  init(base: any NoiseLevels, low: Double, high: Double) {
    (self.base, self.low, self.high) = (base, low, high)
    fixed =
      base.isFixed && base.isMonotone
      ? (
        base.mass(from: -.infinity, to: low, at: 0), base.mass(from: low, to: high, at: 0),
        base.mass(from: high, to: .infinity, at: 0)
      ) : nil
  }

  /// A table of bisections would take too long to make.
  var isFixed: Bool { fixed != nil }
  var turns: [UInt64] { base.turns }

  /// The probability of the base within the bounds.
  func width(at step: UInt64) -> Double { fixed?.width ?? base.mass(from: low, to: high, at: step) }

  func logSigma(_ p: Probability, at step: UInt64) -> Double {
    if let fixed {
      let x = base.logSigma(p.rescaled(begin: fixed.below, width: fixed.width, end: fixed.above), at: step)
      return min(high, max(low, x))
    }
    // The base's quantiles may jump back and forth between its parts; its masses do not. No drawn level lies beyond ±100.
    let (low, high, width) = (max(low, -100), min(high, 100), width(at: step))
    return p.lower < 0.5
      ? bisect(low, high, for: p.lower * width) { base.mass(from: low, to: $0, at: step) }
      : bisect(low, high, for: -p.upper * width) { -base.mass(from: $0, to: high, at: step) }
  }

  func mass(from: Double, to: Double, at step: UInt64) -> Double {
    let (from, to) = (max(from, low), min(to, high))
    return from < to ? base.mass(from: from, to: to, at: step) / width(at: step) : 0
  }
}

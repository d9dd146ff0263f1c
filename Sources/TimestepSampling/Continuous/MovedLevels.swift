import NoiseSchedules

// Noise levels moved towards more noise: by a shift a, σ' = a·σ, that is λ' = λ - 2·ln a.

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

  func logSigma(_ p: Probability, at step: UInt64) -> Double { base.logSigma(p, at: step) + distance }

  func mass(from: Double, to: Double, at step: UInt64) -> Double {
    base.mass(from: from - distance, to: to - distance, at: step)
  }

  var isFixed: Bool { base.isFixed }
  var isMonotone: Bool { base.isMonotone }
  var turns: [UInt64] { base.turns }
}

extension NoiseLevels {
  /// The part of the distribution that is moved into the process's range. `logSigma` must grow with the probability.
  public func moved(by distance: Double, at step: UInt64, in process: ContinuousProcess, _ argument: String) throws
    -> any NoiseLevels
  {
    let moved = MovedLevels(uncut ?? self, by: distance, into: process.logSigmaRange, at: step)
    try checkWidth(moved.width, in: process.logSigmaRange, argument)
    return moved
  }
}

/// The part of a distribution that a distance moves into a range, renormalized.
struct MovedLevels: NoiseLevels {
  private let base: any NoiseLevels
  private let distance: Double
  private let range: (low: Double, high: Double)
  private let below: Double
  /// The share of the base that is moved into the range; nothing may be drawn if it is 0.
  let width: Double
  private let above: Double

  init(_ base: any NoiseLevels, by distance: Double, into range: (low: Double, high: Double), at step: UInt64) {
    let (low, high) = (range.low - distance, range.high - distance)
    (self.base, self.distance, self.range) = (base, distance, range)
    below = base.mass(from: -.infinity, to: low, at: step)
    width = base.mass(from: low, to: high, at: step)
    above = base.mass(from: high, to: .infinity, at: step)
  }

  func logSigma(_ p: Probability, at step: UInt64) -> Double {
    let x = base.logSigma(p.rescaled(begin: below, width: width, end: above), at: step) + distance
    return min(range.high, max(range.low, x))
  }

  func mass(from: Double, to: Double, at step: UInt64) -> Double {
    let (from, to) = (max(from, range.low) - distance, min(to, range.high) - distance)
    return from < to ? base.mass(from: from, to: to, at: step) / width : 0
  }
}

/// Throws unless a distribution has some probability in a process's range of ln σ.
func checkWidth(_ width: Double, in range: (low: Double, high: Double), _ argument: String) throws {
  guard width >= .leastNormalMagnitude else {
    throw ArgumentError(
      argument, "must leave some probability in the process's range of ln σ, between \(range.low) and \(range.high)",
      got: "a probability of \(width)")
  }
}

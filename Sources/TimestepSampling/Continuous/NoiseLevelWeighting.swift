import NoiseSchedules

/// A weight at each ln σ of a process, at a training step.
typealias NoiseLevelWeight = @Sendable (_ logSigma: Double, _ step: UInt64) -> Double

/// What a weight may depend on besides the noise level.
struct NoiseLevelContext: Sendable {
  let process: ContinuousProcess
  /// The target whose loss is weighted.
  let prediction: PredictionTarget
  /// What is drawn.
  let levels: any NoiseLevels
}

/// A weighting that has a form for continuous processes.
protocol NoiseLevelWeighting: Weighting {
  /// The weight of the target's loss.
  func weight(in context: NoiseLevelContext) throws -> NoiseLevelWeight

  /// Whether it stays the same over training, and samples 1/128 of an octave of σ apart show all of it, so that a table can
  /// stand for it. False unless said.
  var isTabulated: Bool { get }
}

extension NoiseLevelWeighting {
  var isTabulated: Bool { false }
}

extension Weighting {
  /// The weight of a target's loss, where the weighting has a form for continuous processes.
  func noiseLevelWeight(in context: NoiseLevelContext) throws -> NoiseLevelWeight {
    if let weighting = self as? any NoiseLevelWeighting { return try weighting.weight(in: context) }
    if let weighting = self as? any SNRWeighting {
      return { x, _ in weighting.weight(snr: Double.exp(-2 * x), prediction: context.prediction) }
    }
    throw ArgumentError(
      "weighting", "must be a function of the noise level for a continuous process", got: "one of timesteps alone")
  }
}

extension Weighting {
  /// Whether a table can stand for the weight of a noise level.
  var isTabulatedForLevels: Bool { (self as? any NoiseLevelWeighting)?.isTabulated ?? (self is any SNRWeighting) }
}

extension UniformWeighting: NoiseLevelWeighting {
  func weight(in context: NoiseLevelContext) -> NoiseLevelWeight { { _, _ in 1 } }
  var isTabulated: Bool { true }
}

extension ProductWeighting: NoiseLevelWeighting {
  func weight(in context: NoiseLevelContext) throws -> NoiseLevelWeight {
    let (a, b) = try (a.noiseLevelWeight(in: context), b.noiseLevelWeight(in: context))
    return { a($0, $1) * b($0, $1) }
  }

  var isTabulated: Bool { a.isTabulatedForLevels && b.isTabulatedForLevels }
}

extension SigmoidWeighting: NoiseLevelWeighting {
  func weight(in context: NoiseLevelContext) throws -> NoiseLevelWeight {
    guard context.process.isBounded else {
      throw ArgumentError("weighting", "sigmoid needs a process with a variable in [0, 1]", got: "EDM, which has none")
    }
    return { x, _ in
      let epsilon = sigmoid(logSNR: -2 * x) * context.process.logSNRSlope(atLogSigma: x)
      return context.prediction.weight(epsilon: epsilon, snr: Double.exp(-2 * x))
    }
  }

  var isTabulated: Bool { true }
}

extension ChangeAwareWeighting: NoiseLevelWeighting {
  /// SpeeDiff's own extension of SpeeD: the process's rate |dᾱ/dv| rescaled to [1-λ, λ].
  func weight(in context: NoiseLevelContext) -> NoiseLevelWeight {
    let relativeRate = context.process.relativeRate()
    return { x, _ in (1 - lam) + (2 * lam - 1) * relativeRate(x) }
  }

  var isTabulated: Bool { true }
}

extension ToEmphasisWeighting: NoiseLevelWeighting {
  /// w_eps = E(λ)/p(λ), converted to the target.
  ///
  /// - Throws: `ArgumentError` without an emphasis, or if it needs noise levels that are never drawn.
  func weight(in context: NoiseLevelContext) throws -> NoiseLevelWeight {
    guard let emphasis else {
      throw ArgumentError(
        "weighting", "to_emphasis needs an emphasis for a continuous process, which has no uniform draws", got: "none")
    }
    for (logSNR, density) in zip(emphasis.logSNR, emphasis.density) where density > 0 {
      guard context.levels.logSNRDensity(atLogSigma: -logSNR / 2, at: 0) > 0 else {
        throw ArgumentError(
          "sampling", "must be able to draw every noise level that the emphasis needs", got: "p = 0 at λ = \(logSNR)")
      }
    }
    return { x, step in
      let density = context.levels.logSNRDensity(atLogSigma: x, at: step)
      let epsilon = density > 0 ? emphasis.density(at: -2 * x) / density : 0
      return context.prediction.weight(epsilon: epsilon, snr: Double.exp(-2 * x))
    }
  }
}

extension NoiseLevels {
  /// p(λ) at λ = -2·ln σ, from the probability of a short interval around it. Where the interval crosses an edge of the
  /// distribution, it is the mean over the part inside.
  func logSNRDensity(atLogSigma x: Double, at step: UInt64) -> Double {
    let (below, above) = (mass(from: x - 1e-4, to: x, at: step), mass(from: x, to: x + 1e-4, at: step))
    return (below > 0 && above > 0 ? (below + above) / 2 : below + above) / 2e-4
  }
}

import NoiseSchedules

/// A weight at each ln σ of a process.
typealias NoiseLevelWeight = @Sendable (_ logSigma: Double) -> Double

/// A weighting that has a form for continuous processes.
protocol NoiseLevelWeighting: TimestepWeighting {
  /// The weight of the target's loss.
  func weight(in process: ContinuousProcess, prediction: PredictionTarget) throws -> NoiseLevelWeight
}

extension TimestepWeighting {
  /// The weight of a target's loss, where the weighting has a form for continuous processes.
  func noiseLevelWeight(in process: ContinuousProcess, prediction: PredictionTarget) throws -> NoiseLevelWeight {
    if let weighting = self as? any NoiseLevelWeighting {
      return try weighting.weight(in: process, prediction: prediction)
    }
    if let weighting = self as? any SNRWeighting {
      return { weighting.weight(snr: Double.exp(-2 * $0), prediction: prediction) }
    }
    throw ArgumentError(
      "weighting", "must be a function of the noise level for a continuous process", got: "one of time steps alone")
  }
}

extension UniformWeighting: NoiseLevelWeighting {
  func weight(in process: ContinuousProcess, prediction: PredictionTarget) -> NoiseLevelWeight { { _ in 1 } }
}

extension ProductWeighting: NoiseLevelWeighting {
  func weight(in process: ContinuousProcess, prediction: PredictionTarget) throws -> NoiseLevelWeight {
    let (a, b) = try (
      a.noiseLevelWeight(in: process, prediction: prediction), b.noiseLevelWeight(in: process, prediction: prediction)
    )
    return { a($0) * b($0) }
  }
}

extension SigmoidWeighting: NoiseLevelWeighting {
  func weight(in process: ContinuousProcess, prediction: PredictionTarget) throws -> NoiseLevelWeight {
    guard process.isBounded else {
      throw ArgumentError("weighting", "sigmoid needs a process with a variable in [0, 1]", got: "EDM")
    }
    return { x in
      let epsilon = sigmoid(logSNR: -2 * x) * process.logSNRSlope(atLogSigma: x)
      return prediction.weight(epsilon: epsilon, snr: Double.exp(-2 * x))
    }
  }
}

extension ChangeAwareWeighting: NoiseLevelWeighting {
  /// SpeeDiff's own extension of SpeeD: the process's rate |dᾱ/dv| rescaled to [1-λ, λ].
  func weight(in process: ContinuousProcess, prediction: PredictionTarget) -> NoiseLevelWeight {
    let relativeRate = process.relativeRate()
    return { (1 - lam) + (2 * lam - 1) * relativeRate($0) }
  }
}

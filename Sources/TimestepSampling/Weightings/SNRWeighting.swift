import NoiseSchedules

/// A weighting that is a function of the signal-to-noise ratio S, with a form for each prediction target.
///
/// For a variance-preserving process loss_eps = S·loss_x0, loss_v = (S+1)·loss_x0 and loss_flow = (1+√S)²·loss_x0. The
/// same objective therefore has w_x0 = S·w_eps, w_v = w_x0/(S+1) and w_flow = w_x0/(1+√S)².
public protocol SNRWeighting: Weighting {
  /// The name of the method, for messages.
  static var name: String { get }

  /// The weight of the ε loss; infinite or NaN where it is undefined.
  func epsilon(_ snr: Double) -> Double

  /// The weight of the x₀ loss.
  func sample(_ snr: Double) -> Double
}

extension SNRWeighting {
  /// The weight of a target's loss at one signal-to-noise ratio.
  public func weight(snr: Double, prediction: PredictionTarget) -> Double {
    prediction == .epsilon ? epsilon(snr) : prediction.weight(sample: sample(snr), snr: snr)
  }

  /// The weights of the steps.
  ///
  /// - Throws: `ArgumentError` without a target, or for the first step where the weight is not finite.
  public func weights(for schedule: NoiseSchedule, prediction: PredictionTarget?) throws -> [Double] {
    let prediction = try prediction.required(by: Self.name)
    return try schedule.snr.enumerated().map { i, snr in
      let weight = weight(snr: snr, prediction: prediction)
      guard weight.isFinite else { throw undefinedWeight(Self.name, prediction, step: i, snr: snr) }
      return weight
    }
  }
}

/// The error that names the step at which a weighting is undefined.
func undefinedWeight(_ name: String, _ prediction: PredictionTarget, step: Int, snr: Double) -> ArgumentError {
  ArgumentError(
    "weighting", "\(name) must have a finite value for \(prediction) at every step",
    got: "none at index \(step) (t = \(step + 1)), where the signal-to-noise ratio is \(snr); "
      + "choose another target or weighting")
}

extension PredictionTarget {
  /// Converts a weight of the x₀ loss to one of this target's loss.
  func weight(sample weight: Double, snr: Double) -> Double {
    switch self {
    case .epsilon: return weight / snr
    case .sample: return weight
    case .v: return weight / (snr + 1)
    case .flow:
      let root = 1 + snr.squareRoot()
      return weight / root / root
    }
  }

  /// Converts a weight of the ε loss to one of this target's loss.
  func weight(epsilon weight: Double, snr: Double) -> Double {
    self == .epsilon ? weight : self.weight(sample: snr * weight, snr: snr)
  }

  /// Converts a weight of this target's loss to one of the ε loss.
  func epsilonWeight(_ weight: Double, snr: Double) -> Double {
    switch self {
    case .epsilon: return weight
    case .sample: return weight / snr
    case .v: return weight * (1 + 1 / snr)
    case .flow:
      let root = 1 + 1 / snr.squareRoot()
      return weight * root * root
    }
  }
}

extension PredictionTarget? {
  /// The target.
  ///
  /// - Throws: `ArgumentError` if it was not given.
  func required(by method: String) throws -> PredictionTarget {
    guard let self else {
      throw ArgumentError("prediction", "must be epsilon, sample, v or flow for \(method) weights", got: "none")
    }
    return self
  }
}

import NoiseSchedules

/// A weighting that is a function of the signal-to-noise ratio S, with a form for each prediction target.
///
/// For a variance-preserving process loss_eps = S·loss_x0, loss_v = (S+1)·loss_x0 and loss_flow = (1+√S)²·loss_x0. The
/// same objective therefore has w_x0 = S·w_eps, w_v = w_x0/(S+1) and w_flow = w_x0/(1+√S)².
public protocol SNRWeighting: TimestepWeighting {
  /// The string that stands for the method, for messages.
  static var name: String { get }

  /// The weight of the ε loss; infinite or not a number where it has no value.
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
  /// - Throws: `ArgumentError` without a target, or at the first step where the target's form has no finite value.
  public func weights(for schedule: NoiseSchedule, prediction: PredictionTarget?) throws -> [Double] {
    let prediction = try prediction.required(by: Self.name)
    return try schedule.snr.enumerated().map { i, snr in
      let weight = weight(snr: snr, prediction: prediction)
      guard weight.isFinite else { throw undefinedWeight(Self.name, prediction, step: i, snr: snr) }
      return weight
    }
  }
}

/// Says at which step a weighting has no value.
func undefinedWeight(_ name: String, _ prediction: PredictionTarget, step: Int, snr: Double) -> ArgumentError {
  ArgumentError(
    "weighting", "\(name) must have a finite value for \(prediction) at every step",
    got: "none at index \(step) (t = \(step + 1)), where the signal-to-noise ratio is \(snr)")
}

extension PredictionTarget {
  /// The weight of this target's loss that is worth a weight of the x₀ loss.
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

  /// The weight of this target's loss that is worth a weight of the ε loss.
  func weight(epsilon weight: Double, snr: Double) -> Double {
    self == .epsilon ? weight : self.weight(sample: snr * weight, snr: snr)
  }

  /// The weight of the ε loss that is worth a weight of this target's loss.
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

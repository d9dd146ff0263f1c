import NoiseSchedules

/// A factor for each timestep's loss: how much each noise level counts.
///
/// The factor acts on the mean squared error only, not on the variational term of a model with learned variance.
public protocol Weighting: TrainingMethod {
  /// w at the first training step under uniform draws, of shape (T,): finite and ≥ 0.
  ///
  /// - Parameters:
  ///   - schedule: the noise schedule, of T steps.
  ///   - prediction: the target whose loss is weighted; nil if the caller gave none.
  /// - Throws: `ArgumentError` if the method does not fit the schedule, or needs a target and has none.
  func weights(for schedule: NoiseSchedule, prediction: PredictionTarget?) throws -> [Double]

  /// w over the course of one training run.
  func state(for schedule: NoiseSchedule, prediction: PredictionTarget?) throws -> any WeightingState
}

extension Weighting {
  /// A constant w.
  public func state(for schedule: NoiseSchedule, prediction: PredictionTarget?) throws -> any WeightingState {
    FixedWeightingState(fixed: try weights(for: schedule, prediction: prediction))
  }
}

/// A weighting over the course of one training run on one schedule: it may follow P, and learn from losses.
public protocol WeightingState: Learner {
  /// w for steps that are drawn from these probabilities.
  func weights(under probabilities: [Double]) throws -> [Double]

  /// Whether w already contains 1/P.
  var dividesByProbability: Bool { get }
}

extension WeightingState {
  /// w does not contain 1/P.
  public var dividesByProbability: Bool { false }
}

/// A constant w.
struct FixedWeightingState: WeightingState {
  let fixed: [Double]

  func weights(under probabilities: [Double]) -> [Double] { fixed }
}

/// A weighting that is defined by its `state(for:prediction:)`.
protocol ChangingWeighting: Weighting {}

extension ChangingWeighting {
  /// w under uniform draws.
  public func weights(for schedule: NoiseSchedule, prediction: PredictionTarget?) throws -> [Double] {
    try state(for: schedule, prediction: prediction).weights(under: UniformSampling().probabilities(for: schedule))
  }
}

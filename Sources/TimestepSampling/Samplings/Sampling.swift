import NoiseSchedules

/// A probability for each timestep of a schedule: which noise levels to train on.
///
/// To add a method, write one type that conforms, in one file. Only `probabilities(for:)` is needed. `UnitSampling`
/// and `LogSNRSampling` are for samplings of the noise level, which they cut into steps; methods that change during
/// training have a `SamplingState` of their own.
public protocol Sampling: TrainingMethod {
  /// P at the first training step, of shape (T,): finite, ≥ 0, with sum 1.
  ///
  /// - Throws: `ArgumentError` if the method's parameters do not fit the schedule.
  func probabilities(for schedule: NoiseSchedule) throws -> [Double]

  /// P over the course of one training run.
  func state(for schedule: NoiseSchedule) throws -> any SamplingState
}

extension Sampling {
  /// A constant P.
  public func state(for schedule: NoiseSchedule) throws -> any SamplingState {
    FixedSamplingState(fixed: try probabilities(for: schedule))
  }
}

/// A sampling that is defined by its `state(for:)`.
protocol ChangingSampling: Sampling {}

extension ChangingSampling {
  /// P at training step 0.
  public func probabilities(for schedule: NoiseSchedule) throws -> [Double] {
    try state(for: schedule).probabilities(at: 0)
  }
}

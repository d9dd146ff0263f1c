import NoiseSchedules

/// A factor for each time step's loss: how much each noise level counts.
///
/// The factor acts on the mean squared error only, not on the variational term of a model with learned variance.
public protocol TimestepWeighting: Sendable {
  /// w, of shape (T,): finite and ≥ 0.
  ///
  /// - Parameter prediction: the target whose loss is weighted; nil where the caller did not say.
  /// - Throws: `ArgumentError` where the method does not fit the schedule, or needs the target and does not have it.
  func weights(for schedule: NoiseSchedule, prediction: PredictionTarget?) throws -> [Double]
}

import NoiseSchedules

/// A probability for each time step of a schedule: which noise levels to train on.
///
/// To add a method, write one type that conforms in one file.
public protocol TimestepDensity: Sendable {
  /// P, of shape (T,): finite, ≥ 0, with sum 1.
  ///
  /// - Throws: `ArgumentError` where the method's parameters do not fit the schedule.
  func probabilities(for schedule: NoiseSchedule) throws -> [Double]
}

import NoiseSchedules

/// Every timestep's loss counts the same: w_i = 1.
public struct UniformWeighting: Weighting {
  /// Makes the weighting.
  public init() {}

  /// 1, T times, for any target.
  public func weights(for schedule: NoiseSchedule, prediction: PredictionTarget?) -> [Double] {
    [Double](repeating: 1, count: schedule.steps)
  }
}

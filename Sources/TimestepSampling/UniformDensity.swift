import NoiseSchedules

/// Every time step alike: P_i = 1/T (Ho et al. 2020).
public struct UniformDensity: TimestepDensity {
  /// Makes the density.
  public init() {}

  /// 1/T, T times.
  public func probabilities(for schedule: NoiseSchedule) -> [Double] {
    [Double](repeating: 1 / Double(schedule.steps), count: schedule.steps)
  }
}

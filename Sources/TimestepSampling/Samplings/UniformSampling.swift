import NoiseSchedules

/// Every timestep equally often: P_i = 1/T (Ho et al. 2020).
public struct UniformSampling: UnitSampling {
  /// Makes the sampling.
  public init() {}

  /// 1/T, T times.
  public func probabilities(for schedule: NoiseSchedule) -> [Double] {
    [Double](repeating: 1 / Double(schedule.steps), count: schedule.steps)
  }

  /// to - from.
  public func mass(from: Double, to: Double) -> Double { to - from }

  /// The probability itself.
  public func quantile(_ p: Probability) -> Probability { p }
}

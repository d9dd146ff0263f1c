import NoiseSchedules

// P from the user's own numbers: one for each step, or a curve through knots in u or in λ.

/// P in proportion to one number for each timestep.
public struct StepTableSampling: Sampling {
  /// One number for each step.
  public let values: [Double]
  private let peak: Double

  /// Makes the sampling. Whether there are T values is checked when a sampler is made.
  ///
  /// - Throws: `ArgumentError` unless all values are finite and ≥ 0, and one is above 0.
  public init(values: [Double]) throws {
    peak = try checkTable(values)
    self.values = values
  }

  /// The values over their sum.
  ///
  /// - Throws: `ArgumentError` unless there are T values.
  public func probabilities(for schedule: NoiseSchedule) throws -> [Double] {
    try checkCount(of: values, for: schedule)
    return try normalized(values.map { $0 / peak }, "values", "must have a finite sum above 0")
  }
}

/// The argument error of a table of another length than the schedule's.
func checkCount(of values: [Double], for schedule: NoiseSchedule) throws {
  guard values.count == schedule.steps else {
    throw ArgumentError(
      "values", "must be as many as the schedule has steps (\(schedule.steps)), or knots with a value each",
      got: values.count)
  }
}

/// p(u) in proportion to a curve through knots in u, and 0 outside the knots.
public struct UnitCurveSampling: UnitSampling {
  private let curve: MonotoneCurve

  /// Makes the sampling.
  ///
  /// - Throws: `ArgumentError` unless the knots rise within [0, 1]; see `MonotoneCurve`.
  public init(knots: [Double], values: [Double]) throws {
    curve = try MonotoneCurve(knots: knots, values: values, in: 0...1)
  }

  /// The probability of an interval of u.
  public func mass(from: Double, to: Double) -> Double { curve.mass(from: from, to: to) }

  /// u of a probability.
  public func quantile(_ p: Probability) -> Probability {
    let (fromFirst, fromLast) = curve.quantile(p)
    return Probability(
      lower: curve.knots[0] + fromFirst, upper: 1 - curve.knots[curve.knots.count - 1] + fromLast)
  }
}

/// p(λ) in proportion to a curve through knots in λ = ln S, and 0 outside the knots.
public struct LogSNRCurveSampling: LogSNRSampling {
  /// Where knots may lie: far beyond any noise level in double precision.
  public static let range = -10_000.0...10_000

  private let curve: MonotoneCurve

  /// Makes the sampling.
  ///
  /// - Throws: `ArgumentError` unless the knots rise within `range`; see `MonotoneCurve`.
  public init(knots: [Double], values: [Double]) throws {
    curve = try MonotoneCurve(knots: knots, values: values, in: Self.range)
  }

  /// The probability of an interval of λ.
  public func mass(from: Double, to: Double) -> Double { curve.mass(from: from, to: to) }

  /// λ of a probability.
  public func quantile(_ p: Probability) -> Double { curve.knots[0] + curve.quantile(p).fromFirst }
}

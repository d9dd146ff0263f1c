import NoiseSchedules

// w from the user's own numbers, taken as they are, for any target.

/// w is one number for each timestep.
public struct StepTableWeighting: Weighting {
  /// One number for each step.
  public let values: [Double]

  /// Makes the weighting. Whether there are T values is checked when a sampler is made.
  ///
  /// - Throws: `ArgumentError` unless all values are finite and ≥ 0, and one is above 0.
  public init(values: [Double]) throws {
    _ = try checkTable(values)
    self.values = values
  }

  /// The values.
  ///
  /// - Throws: `ArgumentError` unless there are T values.
  public func weights(for schedule: NoiseSchedule, prediction: PredictionTarget?) throws -> [Double] {
    try checkCount(of: values, for: schedule)
    return values
  }
}

/// w is a curve through knots in u; step i has its value at (i+½)/T.
public struct UnitCurveWeighting: NoiseLevelWeighting {
  private let curve: MonotoneCurve

  /// Makes the weighting.
  ///
  /// - Throws: `ArgumentError` unless the knots rise from 0 to 1; see `MonotoneCurve`.
  public init(knots: [Double], values: [Double]) throws {
    curve = try MonotoneCurve(knots: knots, values: values, in: 0...1)
    guard knots[0] == 0 else {
      throw ArgumentError("knots[0]", "must be 0: every step needs a weight", got: knots[0])
    }
    let last = knots.count - 1
    guard knots[last] == 1 else {
      throw ArgumentError("knots[\(last)]", "must be 1: every step needs a weight", got: knots[last])
    }
  }

  /// The curve in the middle of each step.
  public func weights(for schedule: NoiseSchedule, prediction: PredictionTarget?) -> [Double] {
    (0..<schedule.steps).map { curve.value(at: (Double($0) + 0.5) / Double(schedule.steps)) }
  }

  func weight(in context: NoiseLevelContext) throws -> NoiseLevelWeight {
    let process = context.process
    guard process.isBounded else {
      throw ArgumentError(
        "weighting", "must have its knots in log-SNR for EDM, which has no variable in [0, 1]", got: "knots in u")
    }
    return { x, _ in curve.value(at: process.unit(atLogSigma: x)) }
  }
}

/// w is a curve through knots in λ = ln S. Beyond the knots it stays at the value of the nearest one.
public struct LogSNRCurveWeighting: NoiseLevelWeighting {
  private let curve: MonotoneCurve

  /// Makes the weighting.
  ///
  /// - Throws: `ArgumentError` unless the knots rise within `LogSNRCurveSampling.range`; see `MonotoneCurve`.
  public init(knots: [Double], values: [Double]) throws {
    curve = try MonotoneCurve(knots: knots, values: values, in: LogSNRCurveSampling.range)
  }

  /// The curve at each step's λ.
  public func weights(for schedule: NoiseSchedule, prediction: PredictionTarget?) -> [Double] {
    schedule.logSNR.map { curve.value(at: $0) }
  }

  func weight(in context: NoiseLevelContext) -> NoiseLevelWeight { { x, _ in curve.value(at: -2 * x) } }
}

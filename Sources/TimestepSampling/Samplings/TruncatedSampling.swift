import NoiseSchedules

/// A sampling restricted to a range, and renormalized. With `MixtureSampling` it favours a range, as diffusers' time-step
/// bias does.
public struct TruncatedSampling: ChangingSampling {
  /// What can be drawn.
  public enum Bounds: Sendable, Equatable {
    /// The steps [start, end) of a schedule, 0-based; nil: T.
    case steps(start: Int, end: Int?)
    /// The levels [low, high) of a continuous process: t of rectified flow, σ of the others.
    case levels(low: Double, high: Double)
  }

  /// The sampling that is restricted.
  public let base: any Sampling
  /// What can be drawn.
  public let bounds: Bounds
  /// The base's parts and itself.
  public let parts: Int

  /// Makes the restriction to steps.
  ///
  /// - Throws: `ArgumentError` unless 0 ≤ start < end. Whether end ≤ T is checked when a sampler is made.
  public init(base: any Sampling, start: Int = 0, end: Int? = nil) throws {
    guard start >= 0 else { throw ArgumentError("start", "must be at least 0", got: start) }
    if let end, end <= start { throw ArgumentError("end", "must be above start = \(start)", got: end) }
    parts = try combinedParts("base", base.parts)
    self.base = base
    bounds = .steps(start: start, end: end)
  }

  /// Makes the restriction to levels of a continuous process.
  ///
  /// - Throws: `ArgumentError` unless 0 ≤ low < high; high may be infinite. For rectified flow high ≤ 1 is checked when a
  ///   sampler is made.
  public init(base: any Sampling, low: Double, high: Double) throws {
    guard low >= 0, low.isFinite else { throw ArgumentError("low", "must be finite and at least 0", got: low) }
    guard high > low else { throw ArgumentError("high", "must be above low = \(low)", got: high) }
    parts = try combinedParts("base", base.parts)
    self.base = base
    bounds = .levels(low: low, high: high)
  }

  /// The base, cut.
  ///
  /// - Throws: `ArgumentError` if the range does not lie within the schedule, or the base has no mass there.
  public func state(for schedule: NoiseSchedule) throws -> any SamplingState {
    let steps = schedule.steps
    guard case .steps(let start, let end) = bounds else {
      throw ArgumentError("sampling", "must be truncated to [start, end) on a schedule of steps", got: "low and high")
    }
    if let end, end > steps {
      throw ArgumentError("end", "must be at most the number of steps (\(steps))", got: end)
    }
    guard start < steps else {
      throw ArgumentError("start", "must be below the number of steps (\(steps))", got: start)
    }
    let range = start..<(end ?? steps)
    return try TransformedState(base: base.state(for: schedule)) { probabilities in
      var cut = [Double](repeating: 0, count: steps)
      cut.replaceSubrange(range, with: probabilities[range])
      let drawn = "[\(range.lowerBound), \(range.upperBound))"
      return try normalized(cut, "base", "must have probability in the steps \(drawn)")
    }
  }
}

/// A sampling derived from another one.
struct TransformedState: SamplingState {
  var base: any SamplingState
  let transform: @Sendable ([Double]) throws -> [Double]

  func probabilities(at step: UInt64) throws -> [Double] { try transform(base.probabilities(at: step)) }
  func nextChange(after step: UInt64) -> UInt64? { base.nextChange(after: step) }

  var turns: [UInt64] { base.turns }
  func keepsObjective(at step: UInt64) -> Bool { base.keepsObjective(at: step) }
  var history: [Double] { base.history }
  var historyCount: Int { base.historyCount }
  var followsWeights: Bool { base.followsWeights }
  mutating func follow(_ objective: Objective) throws { try base.follow(objective) }
  mutating func update(_ batch: LossBatch) throws { try base.update(batch) }
  mutating func restore(_ history: inout HistoryReader) throws { try base.restore(&history) }
}

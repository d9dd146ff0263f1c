import NoiseSchedules

/// A density restricted to the steps [start, end), and renormalized. With `MixtureDensity` it favours a range, as
/// diffusers' timestep bias does.
public struct TruncatedDensity: ChangingDensity {
  /// The density that is restricted.
  public let base: any TimestepDensity
  /// The first step that can be drawn, 0-based.
  public let start: Int
  /// The step after the last; nil: T.
  public let end: Int?
  /// The base's parts and itself.
  public let parts: Int

  /// Makes the restriction.
  ///
  /// - Throws: `ArgumentError` unless 0 ≤ start < end. Whether end ≤ T is checked when a sampler is made.
  public init(base: any TimestepDensity, start: Int = 0, end: Int? = nil) throws {
    guard start >= 0 else { throw ArgumentError("start", "must be at least 0", got: start) }
    if let end, end <= start { throw ArgumentError("end", "must be above start = \(start)", got: end) }
    parts = try combinedParts("base", base.parts)
    self.base = base
    self.start = start
    self.end = end
  }

  /// The base, cut.
  ///
  /// - Throws: `ArgumentError` if the range does not lie within the schedule, or the base has no mass there.
  public func state(for schedule: NoiseSchedule) throws -> any DensityState {
    let steps = schedule.steps
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

/// A density derived from another one.
struct TransformedState: DensityState {
  var base: any DensityState
  let transform: @Sendable ([Double]) throws -> [Double]

  func probabilities(at step: UInt64) throws -> [Double] { try transform(base.probabilities(at: step)) }
  func nextChange(after step: UInt64) -> UInt64? { base.nextChange(after: step) }

  var turns: [UInt64] { base.turns }
  var keepsObjective: Bool { base.keepsObjective }
  var history: [Double] { base.history }
  var historyCount: Int { base.historyCount }
  mutating func update(_ batch: LossBatch) throws { try base.update(batch) }
  mutating func restore(_ history: inout HistoryReader) throws { try base.restore(&history) }
}

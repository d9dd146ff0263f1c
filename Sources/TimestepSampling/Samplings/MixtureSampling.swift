import NoiseSchedules

/// Two samplings at once: share·a + (1-share)·b.
public struct MixtureSampling: ChangingSampling {
  /// The sampling that gets `share`.
  public let a: any Sampling
  /// The sampling that gets the rest.
  public let b: any Sampling
  /// The share of `a`, in [0, 1].
  public let share: Double
  /// Both samplings' parts and itself.
  public let parts: Int

  /// Makes the mixture.
  ///
  /// - Throws: `ArgumentError` unless the share is in [0, 1].
  public init(a: any Sampling, b: any Sampling, share: Double) throws {
    guard share >= 0, share <= 1 else { throw ArgumentError("share", "must be in [0, 1]", got: share) }
    parts = try combinedParts("a", a.parts, b.parts)
    self.a = a
    self.b = b
    self.share = share
  }

  /// Both parts.
  public func state(for schedule: NoiseSchedule) throws -> any SamplingState {
    try PairState(a: a.state(for: schedule), b: b.state(for: schedule), share: .fixed(share))
  }
}

/// The share of the first of two samplings.
enum Share: Sendable {
  case fixed(Double)
  /// 1 up to one training step, 0 from another one on.
  case falling(from: UInt64, to: UInt64)

  /// The number of steps in which a falling share moves.
  private static let stages: UInt64 = 1000

  /// The share at a training step.
  func value(at step: UInt64) -> Double {
    switch self {
    case .fixed(let share): share
    case .falling(let start, let end):
      1 - Double(Self.stage(at: step, start, end)) / Double(Self.stages)
    }
  }

  /// The first step after `step` with another share.
  func nextChange(after step: UInt64) -> UInt64? {
    guard case .falling(let start, let end) = self else { return nil }
    let next = Self.stage(at: step, start, end) + 1
    guard next <= Self.stages else { return nil }
    // The first step at which the thousandths reach `next`.
    return start + (next * (end - start) + Self.stages - 1) / Self.stages
  }

  /// The steps at which another set of parts begins to be drawn.
  var turns: [UInt64] {
    guard case .falling(let start, let end) = self else { return [] }
    return [nextChange(after: start) ?? end, end]
  }

  private static func stage(at step: UInt64, _ start: UInt64, _ end: UInt64) -> UInt64 {
    if step <= start { return 0 }
    return step >= end ? stages : (step - start) * stages / (end - start)
  }
}

/// Two samplings and the share of the first.
struct PairState: SamplingState {
  var a: any SamplingState
  var b: any SamplingState
  let share: Share

  func probabilities(at step: UInt64) throws -> [Double] {
    let share = share.value(at: step)
    return try zip(a.probabilities(at: step), b.probabilities(at: step)).map { share * $0 + (1 - share) * $1 }
  }

  func nextChange(after step: UInt64) -> UInt64? {
    [a.nextChange(after: step), b.nextChange(after: step), share.nextChange(after: step)].compactMap { $0 }.min()
  }

  var turns: [UInt64] { a.turns + b.turns + share.turns }
  var keepsObjective: Bool { a.keepsObjective || b.keepsObjective }
  var history: [Double] { a.history + b.history }
  var historyCount: Int { a.historyCount + b.historyCount }

  mutating func update(_ batch: LossBatch) throws {
    try a.update(batch)
    try b.update(batch)
  }

  mutating func restore(_ history: inout HistoryReader) throws {
    try a.restore(&history)
    try b.restore(&history)
  }
}

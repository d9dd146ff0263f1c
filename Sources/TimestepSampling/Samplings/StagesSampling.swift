import NoiseSchedules

/// One sampling after another: each holds from its training step until the next one begins.
///
/// Samplings that learn do so from the first training step on, whichever stage is drawn.
public struct StagesSampling: ChangingSampling {
  /// A sampling and the training (optimizer) step from which on it holds.
  public typealias Stage = (startStep: Int, sampling: any Sampling)

  /// The stages in order; the first one starts at 0.
  public let stages: [Stage]
  /// All stages' parts and itself.
  public let parts: Int

  /// Makes the stages.
  ///
  /// - Throws: `ArgumentError` unless there is a stage, the first starts at 0, and each of the others after the one
  ///   before it and at most at 2⁵³.
  public init(_ stages: [Stage]) throws {
    guard let first = stages.first else { throw ArgumentError("stages", "must have at least 1 stage", got: 0) }
    guard first.startStep == 0 else {
      throw ArgumentError("start_steps[0]", "must be 0, where training starts", got: first.startStep)
    }
    for i in stages.indices.dropFirst() {
      let (before, start) = (stages[i - 1].startStep, stages[i].startStep)
      guard start > before, start <= BlendSampling.largestStep else {
        throw ArgumentError(
          "start_steps[\(i)]", "must be above the one before it, \(before), and at most \(BlendSampling.largestStep)",
          got: start)
      }
    }
    parts = try combinedParts("stages", stages.reduce(0) { $0 + $1.sampling.parts })
    self.stages = stages
  }

  /// All stages.
  public func state(for schedule: NoiseSchedule) throws -> any SamplingState {
    StagesState(
      starts: stages.map { UInt64($0.startStep) }, states: try stages.map { try $0.sampling.state(for: schedule) })
  }
}

private struct StagesState: SamplingState {
  let starts: [UInt64]
  var states: [any SamplingState]

  private func state(at step: UInt64) -> any SamplingState { states[starts.partition { $0 <= step } - 1] }

  func probabilities(at step: UInt64) throws -> [Double] { try state(at: step).probabilities(at: step) }

  func nextChange(after step: UInt64) -> UInt64? {
    [state(at: step).nextChange(after: step), starts.first { $0 > step }].compactMap { $0 }.min()
  }

  var turns: [UInt64] { starts + states.flatMap(\.turns) }
  func keepsObjective(at step: UInt64) -> Bool { state(at: step).keepsObjective(at: step) }
  var history: [Double] { states.flatMap(\.history) }
  var historyCount: Int { states.reduce(0) { $0 + $1.historyCount } }

  var followsWeights: Bool { states.contains { $0.followsWeights } }

  mutating func follow(_ objective: Objective) throws {
    for i in states.indices { try states[i].follow(objective) }
  }

  mutating func update(_ batch: LossBatch) throws {
    for i in states.indices { try states[i].update(batch) }
  }

  mutating func restore(_ history: inout HistoryReader) throws {
    for i in states.indices { try states[i].restore(&history) }
  }
}

extension StagesSampling: NoiseLevelSampling {
  /// The stages' noise levels.
  public func levels(of process: ContinuousProcess) throws -> any NoiseLevels {
    StagesLevels(
      starts: stages.map { UInt64($0.startStep) },
      levels: try stages.enumerated().map { try $1.sampling.levels(in: process, "stages[\($0)]") })
  }
}

private struct StagesLevels: NoiseLevels {
  let starts: [UInt64]
  let levels: [any NoiseLevels]

  var isMonotone: Bool { levels.allSatisfy(\.isMonotone) }
  var turns: [UInt64] { starts + levels.flatMap(\.turns) }

  private func level(at step: UInt64) -> any NoiseLevels { levels[starts.partition { $0 <= step } - 1] }

  func logSigma(_ p: Probability, at step: UInt64) -> Double { level(at: step).logSigma(p, at: step) }

  func mass(from: Double, to: Double, at step: UInt64) -> Double {
    level(at: step).mass(from: from, to: to, at: step)
  }

  func moved(by distance: Double, at step: UInt64, in process: ContinuousProcess, _ argument: String) throws
    -> any NoiseLevels
  {
    try level(at: step).moved(by: distance, at: step, in: process, argument)
  }
}

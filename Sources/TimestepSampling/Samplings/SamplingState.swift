/// A sampling over the course of one training run on one schedule: it may follow the training step, and learn from losses.
public protocol SamplingState: Learner {
  /// P at a training step.
  func probabilities(at step: UInt64) throws -> [Double]

  /// The first training step after `step` at which P changes without an update; nil: never.
  func nextChange(after step: UInt64) -> UInt64?

  /// The training steps at which the set of steps that can be drawn changes.
  var turns: [UInt64] { get }

  /// Whether P must leave the objective unchanged, so that losses are weighted with 1/(T·P).
  var keepsObjective: Bool { get }
}

extension SamplingState {
  /// P does not follow the training step.
  public func nextChange(after step: UInt64) -> UInt64? { nil }

  /// The same steps can always be drawn.
  public var turns: [UInt64] { [] }

  /// P is part of the objective.
  public var keepsObjective: Bool { false }
}

/// A constant P.
struct FixedSamplingState: SamplingState {
  let fixed: [Double]

  func probabilities(at step: UInt64) -> [Double] { fixed }
}

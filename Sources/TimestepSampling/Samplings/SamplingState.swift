/// A sampling over the course of one training run on one schedule: it may follow the training step, and learn from losses.
public protocol SamplingState: Learner {
  /// P at a training step.
  func probabilities(at step: UInt64) throws -> [Double]

  /// The first training step after `step` at which P changes without an update; nil: never.
  func nextChange(after step: UInt64) -> UInt64?

  /// The training steps at which the set of steps that can be drawn changes.
  var turns: [UInt64] { get }

  /// Whether P must leave the objective unchanged at a training step, so that losses are weighted with 1/(T·P).
  func keepsObjective(at step: UInt64) -> Bool

  /// Whether P depends on the weights of the losses, so that `follow` must be called.
  var followsWeights: Bool { get }

  /// Takes over what the losses are weighted with, at the start and whenever it changes.
  ///
  /// - Throws: `ArgumentError` if no P fits the weights.
  mutating func follow(_ objective: Objective) throws
}

/// What a sampler's losses are weighted with.
public struct Objective: Sendable {
  /// w of each step, on the target's loss.
  public let weights: [Double]
  /// The target.
  public let prediction: PredictionTarget?
}

extension SamplingState {
  /// P does not follow the training step.
  public func nextChange(after step: UInt64) -> UInt64? { nil }

  /// The same steps can always be drawn.
  public var turns: [UInt64] { [] }

  /// P is part of the objective.
  public func keepsObjective(at step: UInt64) -> Bool { false }

  /// P does not depend on the weights.
  public var followsWeights: Bool { false }

  /// Nothing happens.
  public mutating func follow(_ objective: Objective) {}
}

/// A constant P.
struct FixedSamplingState: SamplingState {
  let fixed: [Double]

  func probabilities(at step: UInt64) -> [Double] { fixed }
}

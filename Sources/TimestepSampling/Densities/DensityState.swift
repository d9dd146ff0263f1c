/// A density over the course of one training run on one schedule: it may follow the training step, and learn from losses.
public protocol DensityState: Learner {
  /// P at a training step.
  func probabilities(at step: UInt64) throws -> [Double]

  /// The first training step after `step` at which P is another one by itself; nil: never.
  func nextChange(after step: UInt64) -> UInt64?

  /// The training steps from which on other steps of the schedule can be drawn than before.
  var turns: [UInt64] { get }

  /// Whether P serves a given objective, so that losses are to be weighted with 1/(T·P).
  var keepsObjective: Bool { get }
}

extension DensityState {
  /// P does not follow the training step.
  public func nextChange(after step: UInt64) -> UInt64? { nil }

  /// The same steps can be drawn always.
  public var turns: [UInt64] { [] }

  /// P is part of the objective.
  public var keepsObjective: Bool { false }
}

/// P that stays as it is.
struct FixedDensityState: DensityState {
  let fixed: [Double]

  func probabilities(at step: UInt64) -> [Double] { fixed }
}

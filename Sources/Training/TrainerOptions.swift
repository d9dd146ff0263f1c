import ArgumentErrors
import Kernels

/// The options of a trainer, besides its network and its sampler.
public struct TrainerOptions: Sendable, Equatable {
  /// The learning rate after the warm-up.
  public var learningRate = 1e-4
  /// AdamW's decay of the mean gradient.
  public var beta1 = 0.9
  /// AdamW's decay of the mean squared gradient.
  public var beta2 = 0.999
  /// AdamW's ε.
  public var epsilon = 1e-8
  /// Decoupled weight decay.
  public var weightDecay = 0.0
  /// The decay of the moving average of the parameters.
  public var emaDecay = 0.9999
  /// Whether the average starts shorter: its decay at update n = 1, 2, … is at most (1 + n)/(10 + n).
  public var emaWarmsUp = false
  /// The largest global norm of a gradient; infinity for no clipping.
  public var maximumGradientNorm = Double.infinity
  /// The updates over which the learning rate increases linearly.
  public var warmUpSteps = 0
  /// The seed of initial parameters, noise and label dropout.
  public var seed: UInt64 = 0
  /// The threads.
  public var threads = 1
  /// Of the factors of matrix products. All that is kept from step to step is float32.
  public var precision = Precision.float32

  /// The defaults.
  public init() {}

  /// - Throws: `ArgumentError` for the first value that is out of range. Updates are computed in float32, where the values must
  ///   be finite and ε positive.
  public func check() throws {
    for (name, value) in [("beta1", beta1), ("beta2", beta2)] where !(value >= 0 && value < 1) {
      throw ArgumentError(name, "must be in [0, 1)", got: value)
    }
    guard learningRate >= 0, isFinite(learningRate) else {
      throw ArgumentError("learning_rate", "must be at least 0 and finite in float32", got: learningRate)
    }
    guard isFinite(learningRate / (1 - beta1)) else {
      throw ArgumentError(
        "learning_rate", "must be finite in float32 when divided by 1 - beta1 = \(1 - beta1)", got: learningRate)
    }
    guard Float(epsilon) > 0, isFinite(epsilon) else {
      throw ArgumentError("epsilon", "must be positive and finite in float32", got: epsilon)
    }
    guard weightDecay >= 0, isFinite(weightDecay) else {
      throw ArgumentError("weight_decay", "must be at least 0 and finite in float32", got: weightDecay)
    }
    guard isFinite(learningRate * weightDecay) else {
      throw ArgumentError(
        "weight_decay", "must be finite in float32 when multiplied by learning_rate = \(learningRate)",
        got: weightDecay)
    }
    try Self.checkEMADecay(emaDecay)
    guard maximumGradientNorm > 0 else {
      throw ArgumentError("max_grad_norm", "must be positive", got: maximumGradientNorm)
    }
    guard warmUpSteps >= 0 else { throw ArgumentError("warmup_steps", "must be at least 0", got: warmUpSteps) }
    guard threads >= 1, threads <= 1024 else { throw ArgumentError("threads", "must be in [1, 1024]", got: threads) }
  }

  static func checkEMADecay(_ value: Double) throws {
    guard value >= 0, value <= 1 else { throw ArgumentError("ema_decay", "must be in [0, 1]", got: value) }
  }

  private func isFinite(_ value: Double) -> Bool { Float(value).isFinite }
}

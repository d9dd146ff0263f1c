import ArgumentErrors
import Kernels
import Networks

extension Trainer {
  /// Clips the gradient, updates parameters and their average, and ends the step.
  ///
  /// - Returns: the global norm of the gradient before clipping.
  /// - Throws: `ArgumentError` if micro-batches of the step are missing; `TrainingError.notFinite` if the gradient, or its square
  ///   in float32, is not finite. Then nothing was applied, and the step starts again.
  public func apply() throws -> Double {
    try exclusively {
      let needed = sampler.options.layout.accumulation
      guard microBatches == needed else {
        throw ArgumentError("apply", "must follow \(needed) calls of backward", got: "\(microBatches)")
      }
      let norm = memory.gradientNorm(pool)
      guard norm.isFinite else {
        dropGradients()
        let name = memory.lastNonFiniteGradient(of: network.parameters) ?? "a sum"
        throw TrainingError.notFinite(
          "gradient must be finite, got norm \(norm) at step \(globalStep); the first in the backward pass is the gradient of \(name). The step was not applied"
        )
      }
      let clipped = options.clipping(of: norm) * norm
      guard clipped <= AdamWState.largestGradient else {
        dropGradients()
        throw TrainingError.notFinite(
          "gradient must have a norm of at most \(AdamWState.largestGradient), which AdamW can square in float32, got \(clipped) at step \(globalStep). The step was not applied; set max_grad_norm, or use smaller loss weights"
        )
      }
      memory.update(options.coefficients(at: globalStep, norm: norm), pool)
      dropGradients()
      stepLosses.canBeLearned = true
      globalStep += 1
      return norm
    }
  }
}

extension TrainerOptions {
  /// The coefficients of the update after `step` others, for a gradient with this norm.
  func coefficients(at step: Int, norm: Double) -> AdamWCoefficients {
    let update = Double(step) + 1
    let warmth = warmUpSteps > 0 ? min(1, update / Double(warmUpSteps)) : 1
    return AdamWCoefficients(
      learningRate: learningRate * warmth, beta1: beta1, beta2: beta2, epsilon: epsilon, weightDecay: weightDecay,
      beta1Power: .pow(beta1, update), beta2Power: .pow(beta2, update),
      emaDecay: emaWarmsUp ? min(emaDecay, (1 + update) / (10 + update)) : emaDecay,
      gradientScale: clipping(of: norm))
  }

  /// The factor for a gradient with this norm, as in torch.nn.utils.clip_grad_norm_.
  func clipping(of norm: Double) -> Double { min(1, maximumGradientNorm / (norm + 1e-6)) }
}

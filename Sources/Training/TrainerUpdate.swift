import ArgumentErrors
import Kernels
import Networks

extension Trainer {
  /// Clips, updates parameters and their average, and ends the step.
  ///
  /// - Returns: the global norm of the gradient before clipping.
  /// - Throws: `ArgumentError` unless all micro-batches of the step are there; `TrainingError.notFinite` for a gradient that
  ///   is not finite, or whose square is not. Then nothing was applied, and the step begins anew.
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
          "gradient must be finite, got norm \(norm) at step \(globalStep); on the way back the first that is not finite is that of \(name). The step was not applied"
        )
      }
      let clipped = options.clipping(of: norm) * norm
      guard clipped <= AdamWState.largestGradient else {
        dropGradients()
        throw TrainingError.notFinite(
          "gradient must have a norm of at most \(AdamWState.largestGradient), or its square would be infinite in AdamW's float32, got \(clipped) at step \(globalStep). The step was not applied; set max_grad_norm, or make the weights of the loss smaller"
        )
      }
      memory.update(options.coefficients(at: globalStep, norm: norm), pool)
      dropGradients()
      globalStep += 1
      return norm
    }
  }
}

extension TrainerOptions {
  /// The numbers of the update after `step` others, for a gradient of some norm.
  func coefficients(at step: UInt64, norm: Double) -> AdamWCoefficients {
    let update = Double(step) + 1
    let warmth = warmUpSteps > 0 ? min(1, update / Double(warmUpSteps)) : 1
    return AdamWCoefficients(
      learningRate: learningRate * warmth, beta1: beta1, beta2: beta2, epsilon: epsilon, weightDecay: weightDecay,
      beta1Power: .pow(beta1, update), beta2Power: .pow(beta2, update),
      emaDecay: emaWarmsUp ? min(emaDecay, (1 + update) / (10 + update)) : emaDecay,
      gradientScale: clipping(of: norm))
  }

  /// The factor of a gradient with this norm, as torch.nn.utils.clip_grad_norm_ has it.
  func clipping(of norm: Double) -> Double { min(1, maximumGradientNorm / (norm + 1e-6)) }
}

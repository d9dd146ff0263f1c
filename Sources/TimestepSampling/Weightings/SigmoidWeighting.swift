import NoiseSchedules

/// sigmoid(bias-λ)·|dλ/du| on the ε loss, with λ = ln S and u = t/T: the ELBO's weighting, monotone in λ, whatever the
/// schedule.
///
/// dλ/du is the discrete gradient of λ times T. Source: Kingma and Gao, "Understanding Diffusion Objectives as the ELBO
/// with Simple Data Augmentation", 2023; Hoogeboom et al., "Simpler Diffusion (SiD2)", 2024, whose
/// e^b·sigmoid(λ-b) on the x₀ loss is the same.
public struct SigmoidWeighting: Weighting {
  /// The bias b.
  public let bias: Double

  /// Makes the weighting.
  ///
  /// - Throws: `ArgumentError` unless the bias is finite.
  public init(bias: Double = 2) throws {
    try checkFinite("bias", bias)
    self.bias = bias
  }

  /// The weights of the steps.
  ///
  /// - Throws: `ArgumentError` without a target, or where S = 0 leaves dλ/du infinite.
  public func weights(for schedule: NoiseSchedule, prediction: PredictionTarget?) throws -> [Double] {
    let prediction = try prediction.required(by: "sigmoid")
    let (snr, logSNR) = (schedule.snr, schedule.logSNR)
    let slopes = gradient(logSNR)
    return try snr.indices.map { i in
      let epsilon = sigmoid(logSNR: logSNR[i]) * abs(slopes[i]) * Double(schedule.steps)
      let weight = prediction.weight(epsilon: epsilon, snr: snr[i])
      guard epsilon.isFinite, weight.isFinite else {
        throw undefinedWeight("sigmoid", prediction, step: snr[i] > 0 ? i + 1 : i, snr: 0)
      }
      return weight
    }
  }

  /// sigmoid(bias-λ).
  func sigmoid(logSNR: Double) -> Double { 1 / (1 + Double.exp(logSNR - bias)) }
}

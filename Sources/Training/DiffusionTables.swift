import NoiseSchedules
import TimestepSampling

/// The process at one timestep, for a network with a given prediction target.
///
/// The network's input is `signal`·x₀ + `noise`·ε, its target `targetSignal`·x₀ + `targetNoise`·ε. For flow the input is
/// on the straight path (1-σ)x₀ + σε with the same signal-to-noise ratio, σ = 1/(1+√S). For other targets it is
/// x_t = √ᾱ x₀ + √(1-ᾱ) ε.
struct ProcessPoint {
  /// √ᾱ and √(1-ᾱ).
  let (rootSignal, rootNoise): (Double, Double)
  let (signal, noise): (Double, Double)
  let (targetSignal, targetNoise): (Double, Double)
  /// x₀ = `inputToSample`·input + `predictionToSample`·prediction.
  let (inputToSample, predictionToSample): (Double, Double)
  /// The input is `inputScale`·x_t.
  let inputScale: Double

  init(alphaCumprod: Double, prediction: PredictionTarget) {
    let (a, b) = (alphaCumprod.squareRoot(), (1 - alphaCumprod).squareRoot())
    (rootSignal, rootNoise) = (a, b)
    let total = prediction == .flow ? a + b : 1
    inputScale = 1 / total
    (signal, noise) = (a / total, b / total)
    switch prediction {
    case .epsilon:
      (targetSignal, targetNoise) = (0, 1)
      (inputToSample, predictionToSample) = (1 / a, -b / a)
    case .sample:
      (targetSignal, targetNoise) = (1, 0)
      (inputToSample, predictionToSample) = (0, 1)
    case .v:
      (targetSignal, targetNoise) = (-b, a)
      (inputToSample, predictionToSample) = (a, -b)
    case .flow:
      (targetSignal, targetNoise) = (-1, 1)
      (inputToSample, predictionToSample) = (1, -b / total)
    }
  }
}

/// q(x_{t-1} | x_t, x₀) and the range of learned variances at one timestep.
///
/// Ho et al. 2020, Eq. 6-7; Nichol and Dhariwal 2021, Eq. 15, with the clipped logarithm of guided-diffusion.
struct PosteriorPoint {
  /// The mean is `meanOfSample`·x₀ + `meanOfInput`·x_t.
  let (meanOfSample, meanOfInput): (Double, Double)
  /// ln of the posterior variance (at the first step, that of the second), and ln β.
  let (leastLogVariance, mostLogVariance): (Double, Double)
  /// ln of the variance for sampling without a learned one: β, and at the first step the posterior variance of the second
  /// ("fixed large").
  let fixedLogVariance: Double

  /// The values for all steps.
  static func points(of schedule: NoiseSchedule) -> [PosteriorPoint] {
    let (betas, cumprod) = (schedule.betas, schedule.alphasCumprod)
    func variance(_ i: Int) -> Double { betas[i] * (1 - cumprod[i - 1]) / (1 - cumprod[i]) }
    return betas.indices.map { i in
      let (beta, now, before) = (betas[i], cumprod[i], i > 0 ? cumprod[i - 1] : 1)
      let clipped = variance(max(i, 1))
      return PosteriorPoint(
        meanOfSample: beta * before.squareRoot() / (1 - now),
        meanOfInput: (1 - before) * (1 - beta).squareRoot() / (1 - now), leastLogVariance: Double.log(clipped),
        mostLogVariance: Double.log(beta), fixedLogVariance: Double.log(i > 0 ? beta : clipped))
    }
  }

  /// ln of the variance that the network's output v in [-1, 1] encodes; it extrapolates beyond.
  func logVariance(_ v: Double) -> Double {
    leastLogVariance + (v + 1) / 2 * (mostLogVariance - leastLogVariance)
  }
}

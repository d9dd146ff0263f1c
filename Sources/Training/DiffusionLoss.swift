import NoiseSchedules
import TimestepSampling

/// The objective of one sample, and its gradient: w·MSE, plus the variational term if the variance is learned.
struct DiffusionLoss {
  let points: [ProcessPoint]
  let posteriors: [PosteriorPoint]
  /// Channels of an image times its pixels.
  let elements: Int
  let learnsSigma: Bool

  init(schedule: NoiseSchedule, prediction: PredictionTarget, elements: Int, learnsSigma: Bool) {
    points = schedule.alphasCumprod.map { ProcessPoint(alphaCumprod: $0, prediction: prediction) }
    posteriors = learnsSigma ? PosteriorPoint.points(of: schedule) : []
    self.elements = elements
    self.learnsSigma = learnsSigma
  }

  /// Writes the network's input.
  func addNoise(
    _ x: UnsafePointer<Float>, _ noise: UnsafePointer<Float>, t: Int, into input: UnsafeMutablePointer<Float>
  ) {
    let (a, b) = (Float(points[t].signal), Float(points[t].noise))
    for i in 0..<elements { input[i] = a * x[i] + b * noise[i] }
  }

  /// A sample's losses, and the gradient of `scale`·(weight·mse + variational) with respect to the network's output.
  ///
  /// - Parameters:
  ///   - x, noise: x₀ and ε, `elements` floats each.
  ///   - input: the network's input.
  ///   - output: its output: the prediction, then v of the variance if it is learned, `elements` floats each.
  ///   - gradient: as `output`.
  /// - Returns: the mean squared error, and the variational term in bits per element.
  func evaluate(
    _ x: UnsafePointer<Float>, _ noise: UnsafePointer<Float>, t: Int, weight: Double, scale: Double,
    input: UnsafePointer<Float>, output: UnsafePointer<Float>, gradient: UnsafeMutablePointer<Float>
  ) -> (mse: Double, variational: Double) {
    let point = points[t]
    let (a, b) = (Float(point.targetSignal), Float(point.targetNoise))
    let factor = Float(2 * scale * weight / Double(elements))
    var squares = 0.0
    for i in 0..<elements {
      let error = output[i] - (a * x[i] + b * noise[i])
      squares += Double(error) * Double(error)
      gradient[i] = factor * error
    }
    let mse = squares / Double(elements)
    guard learnsSigma else { return (mse, 0) }
    let bits = 1 / (Double(elements) * Double.log(2))
    let (v, dv) = (output + elements, gradient + elements)
    var total = 0.0
    for i in 0..<elements {
      let sample = point.inputToSample * Double(input[i]) + point.predictionToSample * Double(output[i])
      let logVariance = posteriors[t].logVariance(Double(v[i]))
      let (value, slope) =
        t > 0
        ? divergence(posteriors[t], difference: Double(x[i]) - sample, logVariance: logVariance)
        : decoderNLL(Double(x[i]), mean: sample, logVariance: logVariance)
      total += value
      let range = posteriors[t].mostLogVariance - posteriors[t].leastLogVariance
      dv[i] = Float(scale * bits * slope * range / 2)
    }
    return (mse, total * bits)
  }

  /// KL(q(x_{t-1} | x_t, x₀) ‖ p) in nats, and its derivative with respect to the log-variance of p. The means differ
  /// only in their x₀ terms. Ho et al. 2020, Eq. 5.
  private func divergence(
    _ posterior: PosteriorPoint, difference: Double, logVariance: Double
  ) -> (value: Double, slope: Double) {
    let mean = posterior.meanOfSample * difference
    let ratio = Double.exp(posterior.leastLogVariance - logVariance)
    let square = mean * mean * Double.exp(-logVariance)
    return (0.5 * (logVariance - posterior.leastLogVariance - 1 + ratio + square), 0.5 * (1 - ratio - square))
  }

  /// -ln p(x₀ | x₁) in nats for x₀ in steps of 2/255, and its derivative with respect to the log-variance. Ho et al. 2020, Eq. 13,
  /// with guided-diffusion's approximation of the normal distribution function and its bounds.
  private func decoderNLL(_ x: Double, mean: Double, logVariance: Double) -> (value: Double, slope: Double) {
    let inverse = Double.exp(-logVariance / 2)
    let (upper, dUpper) = normalCDF((x - mean + 1.0 / 255) * inverse)
    let (lower, dLower) = normalCDF((x - mean - 1.0 / 255) * inverse)
    // d/dlogVariance of an argument is -½ times it; the derivatives below include that argument already.
    let (p, dp): (Double, Double)
    if x < -0.999 {
      (p, dp) = (upper, dUpper)
    } else if x > 0.999 {
      (p, dp) = (1 - lower, -dLower)
    } else {
      (p, dp) = (upper - lower, dUpper - dLower)
    }
    guard p > 1e-12 else { return (-Double.log(1e-12), 0) }
    return (-Double.log(p), 0.5 * dp / p)
  }

  /// ½(1 + tanh(√(2/π)(z + 0.044715z³))), and its derivative times z.
  private func normalCDF(_ z: Double) -> (value: Double, slopeTimesArgument: Double) {
    let root = (2 / Double.pi).squareRoot()
    // tanh(u) = 1 - 2/(e^{2u} + 1), which is accurate for every u.
    let tanh = 1 - 2 / (Double.exp(2 * root * (z + 0.044715 * z * z * z)) + 1)
    let slope = 0.5 * (1 - tanh * tanh) * root * (1 + 3 * 0.044715 * z * z)
    return ((1 + tanh) / 2, z.isFinite && slope > 0 ? slope * z : 0)
  }
}

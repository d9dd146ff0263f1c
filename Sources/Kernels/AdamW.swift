import COpenBLAS

/// The coefficients of one AdamW update.
public struct AdamWCoefficients: Sendable {
  let beta1: Float
  let beta2: Float
  // 1 - β in float would be off by 1e-5.
  let rest1: Float
  let rest2: Float
  let epsilon: Float
  let decay: Float
  let stepSize: Float
  let varianceScale: Float
  let emaRate: Float
  let gradientScale: Float

  /// Computes the coefficients of an update.
  ///
  /// - Parameters:
  ///   - beta1Power, beta2Power: β₁ᵘ and β₂ᵘ for update number u = 1, 2, …
  ///   - emaDecay: the decay of the moving average in this update.
  ///   - gradientScale: the factor by which clipping scales the gradient.
  public init(
    learningRate: Double, beta1: Double, beta2: Double, epsilon: Double, weightDecay: Double, beta1Power: Double,
    beta2Power: Double, emaDecay: Double, gradientScale: Double
  ) {
    self.beta1 = Float(beta1)
    self.beta2 = Float(beta2)
    rest1 = Float(1 - beta1)
    rest2 = Float(1 - beta2)
    self.epsilon = Float(epsilon)
    decay = Float(1 - learningRate * weightDecay)
    stepSize = Float(learningRate / (1 - beta1Power))
    varianceScale = Float(1 / (1 - beta2Power).squareRoot())
    emaRate = Float(1 - emaDecay)
    self.gradientScale = Float(gradientScale)
  }
}

/// The memory of an optimizer: arrays of equal length.
public struct AdamWState: @unchecked Sendable {
  let parameters: UnsafeMutablePointer<Float>
  let gradients: UnsafePointer<Float>
  let firstMoment: UnsafeMutablePointer<Float>
  let secondMoment: UnsafeMutablePointer<Float>
  let average: UnsafeMutablePointer<Float>

  /// A bound on gradients whose squares, and their means, are finite in float32.
  ///
  /// With an infinite mean of squares a parameter would silently never be updated again.
  public static let largestGradient = 1e19

  /// Describes memory.
  public init(
    parameters: UnsafeMutablePointer<Float>, gradients: UnsafePointer<Float>,
    firstMoment: UnsafeMutablePointer<Float>, secondMoment: UnsafeMutablePointer<Float>,
    average: UnsafeMutablePointer<Float>
  ) {
    self.parameters = parameters
    self.gradients = gradients
    self.firstMoment = firstMoment
    self.secondMoment = secondMoment
    self.average = average
  }
}

/// AdamW with decoupled weight decay, and the moving average of the parameters, in one pass over memory.
///
///   g = scale·gradient;  m = β₁m + (1-β₁)g;  v = β₂v + (1-β₂)g²
///   θ = (1 - lr·decay)θ - lr/(1-β₁ᵘ)·m/(√v/√(1-β₂ᵘ) + ε);  average += (1-d)(θ - average)
///
/// Loshchilov and Hutter 2019, Algorithm 2, with ε where PyTorch has it.
public func adamWUpdate(_ state: AdamWState, _ coefficients: AdamWCoefficients, range: Range<Int>) {
  let c = coefficients
  let (beta1, beta2, scale) = (splat(c.beta1), splat(c.beta2), splat(c.gradientScale))
  let (rest1, rest2) = (splat(c.rest1), splat(c.rest2))
  let first = range.lowerBound
  @inline(__always)
  func compute(_ offset: Int, _ n: Int) {
    let i = first &+ offset
    let g = load(state.gradients + i, n) * scale
    let m = (rest1 * g).addingProduct(beta1, load(state.firstMoment + i, n))
    let v = (rest2 * g * g).addingProduct(beta2, load(state.secondMoment + i, n))
    let denominator = splat(c.epsilon).addingProduct(speediff_square_roots(v), splat(c.varianceScale))
    let p = load(state.parameters + i, n) * splat(c.decay) - splat(c.stepSize) * m / denominator
    let average = load(state.average + i, n)
    store(m, state.firstMoment + i, n)
    store(v, state.secondMoment + i, n)
    store(p, state.parameters + i, n)
    store(average.addingProduct(splat(c.emaRate), p - average), state.average + i, n)
  }
  forEachVector(range.count, compute)
}

/// Σ x² in double precision. It is finite if and only if every x is.
public func sumOfSquares(_ x: UnsafePointer<Float>, range: Range<Int>) -> Double {
  var total = SIMD8<Double>.zero
  var i = range.lowerBound
  while i &+ lanes <= range.upperBound {
    let v = load(x + i, lanes)
    let (low, high) = (SIMD8<Double>(v.lowHalf), SIMD8<Double>(v.highHalf))
    total = total.addingProduct(low, low)
    total = total.addingProduct(high, high)
    i &+= lanes
  }
  var sum = total.sum()
  while i < range.upperBound {
    sum += Double(x[i]) * Double(x[i])
    i &+= 1
  }
  return sum
}

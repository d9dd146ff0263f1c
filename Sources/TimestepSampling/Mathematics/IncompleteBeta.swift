import NoiseSchedules

/// The regularized incomplete beta function I_x(a, b), the distribution function of Beta(a, b).
///
/// Its continued fraction (DLMF 8.17.22, evaluated by Lentz's method) on whichever side of the mean converges fast.
/// Relative error about 10⁻¹³ for a, b up to 10⁴.
struct IncompleteBeta {
  private let a: Double
  private let b: Double
  /// ln of 1/B(a, b).
  private let logFactor: Double

  init(a: Double, b: Double) {
    self.a = a
    self.b = b
    logFactor = Double.logGamma(a + b) - Double.logGamma(a) - Double.logGamma(b)
  }

  /// The probability of [from, to] with 0 ≤ from ≤ to ≤ 1.
  func mass(from: Double, to: Double) -> Double {
    // Differences on the side with the smaller values lose the least.
    let isAbove = from > a / (a + b)
    return isAbove ? upper(from) - upper(to) : lower(to) - lower(from)
  }

  /// I_x(a, b).
  func lower(_ x: Double) -> Double {
    x <= (a + 1) / (a + b + 2) ? Self.tail(a, b, x, 1 - x, logFactor) : 1 - Self.tail(b, a, 1 - x, x, logFactor)
  }

  /// x with I_x(a, b) = p, for p in (0, ½]: Newton's method for ln I over ln x, kept within a bracket that it narrows.
  func quantile(_ p: Double) -> Double {
    var (low, high) = (0.0, 1.0)
    // Exact where x is small.
    var x = Double.exp((Double.log(p * a) - logFactor) / a)
    for _ in 0..<200 {
      if !(x > low && x < high) { x = low + (high - low) / 2 }
      let mass = lower(x)
      if mass < p { low = x } else { high = x }
      let slope = Double.exp(logFactor + a * Double.log(x) + (b - 1) * Double.log(onePlus: -x)) / mass
      let next = x * Double.exp(Double.log(p / mass) / slope)
      if abs(next - x) <= 1e-13 * x { return next }
      x = next
    }
    return bisect(low, high, for: p, lower)
  }

  /// The distribution of 1 - x.
  var mirrored: IncompleteBeta { IncompleteBeta(a: b, b: a) }

  /// 1 - I_x(a, b).
  private func upper(_ x: Double) -> Double {
    x <= (a + 1) / (a + b + 2) ? 1 - Self.tail(a, b, x, 1 - x, logFactor) : Self.tail(b, a, 1 - x, x, logFactor)
  }

  /// I_x(a, b) with y = 1-x, where the fraction converges fast.
  private static func tail(_ a: Double, _ b: Double, _ x: Double, _ y: Double, _ logFactor: Double) -> Double {
    guard x > 0 else { return 0 }
    // x^a alone would underflow where a is tiny and x normal in no case; the logarithm serves large a and b.
    let front = Double.exp(logFactor + a * Double.log(x) + b * Double.log(y)) / a
    return front * continuedFraction(a, b, x)
  }

  private static func continuedFraction(_ a: Double, _ b: Double, _ x: Double) -> Double {
    /// Lentz's method must not divide by zero.
    func nonzero(_ value: Double) -> Double { abs(value) < 1e-300 ? 1e-300 : value }
    var c = 1.0
    var d = 1 / nonzero(1 - (a + b) * x / (a + 1))
    var result = d
    for i in 1...2000 {
      let m = Double(i)
      for term in [
        m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
        -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
      ] {
        d = 1 / nonzero(1 + term * d)
        c = nonzero(1 + term / c)
        result *= c * d
      }
      if abs(c * d - 1) < 1e-16 { break }
    }
    return result
  }
}

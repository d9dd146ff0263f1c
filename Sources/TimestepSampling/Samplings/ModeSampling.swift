import NoiseSchedules

/// u = 1 - x - scale·(cos²(πx/2) - 1 + x) with uniform x: Stable Diffusion 3's mode sampling with heavy tails.
///
/// u grows with noise. A scale above 0 favours the middle, one below 0 both ends. Source: Esser et al. 2024, Eq. 20.
public struct ModeSampling: UnitSampling {
  /// The scale, in [-1, 2/(π-2)]: beyond, u would not be monotone in x.
  public let scale: Double

  /// 2/(π-2) = 1.7519….
  public static let largestScale = 2 / (Double.pi - 2)

  /// Makes the sampling.
  ///
  /// - Throws: `ArgumentError` unless the scale is in [-1, 2/(π-2)].
  public init(scale: Double = 1.29) throws {
    guard scale >= -1, scale <= Self.largestScale else {
      throw ArgumentError("scale", "must be in [-1, 2/(π-2) = \(Self.largestScale)]", got: scale)
    }
    self.scale = scale
  }

  /// The masses of the steps, each edge solved for once.
  public func probabilities(for schedule: NoiseSchedule) -> [Double] {
    let steps = schedule.steps
    // The map is odd, so that the upper half of the edges mirrors the lower one.
    let lower = (0...steps / 2).map { place(of: Double($0) / Double(steps) - 0.5) }
    let edges: [Double] = (0...steps).map { $0 <= steps / 2 ? lower[$0] : -lower[steps - $0] }
    return zip(edges, edges.dropFirst()).map { max(0, $1 - $0) }
  }

  /// The probability of an interval of u.
  public func mass(from: Double, to: Double) -> Double { max(0, place(of: to - 0.5) - place(of: from - 0.5)) }

  /// u of a probability.
  public func quantile(_ p: Probability) -> Probability {
    // Each form is precise where the other one is not: at the ends, and in the middle.
    guard abs(p.lower - 0.5) < 0.25 else {
      return Probability(lower: level(at: p.lower), upper: level(at: p.upper))
    }
    let offset = level(of: p.lower - 0.5)
    return Probability(lower: 0.5 + offset, upper: 0.5 - offset)
  }

  /// u at a distance from the end where it is 0: (1+scale)·z - scale·sin²(πz/2).
  private func level(at distance: Double) -> Double {
    let half = Double.sin(.pi * distance / 2)
    return min(1, max(0, (1 + scale) * distance - scale * half * half))
  }

  // The map is odd about its middle: with v = u-½ and y = ½-x it is v = (1+scale)·y - scale/2·sin(πy). Written this way
  // it keeps its precision where the largest scale makes it flat.

  /// v of y; it rises.
  private func level(of y: Double) -> Double { flatness * y + scale / 2 * Self.arcMinusSine(.pi * y) }

  /// The slope in the middle, which the largest scale makes 0.
  private var flatness: Double { max(0, 1 - scale / Self.largestScale) }

  /// y of v: Newton's method, kept within a bracket that it narrows.
  private func place(of v: Double) -> Double {
    let target = abs(v)
    guard target > 0 else { return 0 }
    guard target < 0.5 else { return v < 0 ? -0.5 : 0.5 }
    var (low, high) = (0.0, 0.5)
    var y = target
    for _ in 0..<200 {
      let excess = level(of: y) - target
      if excess < 0 { low = y } else { high = y }
      let half = Double.sin(.pi * y / 2)
      let newton = y - excess / (flatness + scale * .pi * half * half)
      let next = newton > low && newton < high ? newton : low + (high - low) / 2
      guard abs(next - y) > 4e-16 * y else { return v < 0 ? -next : next }
      y = next
    }
    return v < 0 ? -y : y
  }

  /// z - sin z, without cancellation near 0.
  private static func arcMinusSine(_ z: Double) -> Double {
    guard abs(z) < 0.5 else { return z - Double.sin(z) }
    let square = z * z
    var term = z * square / 6
    var sum = term
    for k in stride(from: 4.0, through: 18, by: 2) {
      term *= -square / (k * (k + 1))
      sum += term
    }
    return sum
  }
}

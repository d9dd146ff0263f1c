/// Intervals of ln σ of equal width that cover nearly all of a density, with the probability of each.
struct NoiseLevelGrid {
  /// The middle of each interval, rising.
  let middles: [Double]
  /// The probability of each interval.
  let masses: [Double]

  /// The probability that is left out at either end.
  private static let tail = 1e-9
  /// The largest |ln σ|: heavy tails would otherwise take all intervals.
  private static let farthest = 30.0

  init(of levels: any NoiseLevels, at step: UInt64, intervals: Int) {
    // Mixtures' quantiles are not monotone, so a scan finds the ends.
    let probes = [Self.tail, 1e-6, 1e-3, 0.25, 0.5, 0.75].flatMap { p in
      [
        levels.logSigma(Probability(lower: p, upper: 1 - p), at: step),
        levels.logSigma(Probability(lower: 1 - p, upper: p), at: step),
      ]
    }
    let low = bisect(probes.min()! - 50, probes.max()! + 50, for: Self.tail) {
      levels.mass(from: -.infinity, to: $0, at: step)
    }
    let high = bisect(low, probes.max()! + 50, for: -Self.tail) { -levels.mass(from: $0, to: .infinity, at: step) }
    let start = max(low, -Self.farthest)
    // Wide enough that the middles differ even if the density is a spike.
    let span = max(min(high, Self.farthest) - start, 1e-6)
    let width = span / Double(intervals)
    middles = (0..<intervals).map { start + (Double($0) + 0.5) * width }
    masses = (0..<intervals).map {
      levels.mass(from: start + Double($0) * width, to: start + Double($0 + 1) * width, at: step)
    }
  }

  /// E[w].
  func mean(of weight: NoiseLevelWeight) -> Double {
    zip(middles, masses).reduce(0) { $0 + $1.1 * weight($1.0, 0) } / compensatedSum(masses)
  }
}

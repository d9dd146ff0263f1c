import NoiseSchedules

/// A sampling moved towards more noise, as for higher resolutions: σ' = shift·σ/(1+(shift-1)·σ) with σ = 1/(1+√S), which
/// is λ' = λ - 2·ln(shift).
///
/// A sampling in λ is moved exactly. Any other one counts as constant within each step's bin of λ; the bins are moved and
/// cut again. What leaves the schedule's range is cut off. Stable Diffusion 3 has a shift of 3 at 1024²; Flux e^μ with μ
/// linear from 0.5 at 256 tokens to 1.15 at 4096. Source: Esser et al. 2024, Section 5.3.2.
public struct ShiftedSampling: ChangingSampling {
  /// The sampling that is moved.
  public let base: any Sampling
  /// Above 1: more noise.
  public let shift: Double
  /// The base's parts and itself.
  public let parts: Int

  /// Makes the shift.
  ///
  /// - Throws: `ArgumentError` unless the shift is finite and above 0.
  public init(base: any Sampling, shift: Double = 3) throws {
    try checkPositive("shift", shift)
    parts = try combinedParts("base", base.parts)
    self.base = base
    self.shift = shift
  }

  /// The shift as a distance in λ.
  var distance: Double { 2 * Double.log(shift) }

  /// The base, moved.
  ///
  /// - Throws: `ArgumentError` if nothing is left within the schedule's range.
  public func state(for schedule: NoiseSchedule) throws -> any SamplingState {
    let bins = LogSNRBins(of: schedule)
    let distance = distance
    if let base = base as? any LogSNRSampling {
      return FixedSamplingState(
        fixed: try bins.probabilities { base.mass(from: $0 + distance, to: $1 + distance) })
    }
    return try TransformedState(base: base.state(for: schedule)) { probabilities in
      let moved = PiecewiseDensity(edges: bins.edges, masses: probabilities)
      let atZero = probabilities.count == bins.edges.count ? probabilities[probabilities.count - 1] : 0
      return try bins.probabilities(atZero: atZero) { moved.mass(from: $0 + distance, to: $1 + distance) }
    }
  }
}

/// A density that is constant between falling edges.
private struct PiecewiseDensity {
  let edges: [Double]
  let masses: [Double]

  func mass(from: Double, to: Double) -> Double {
    let last = edges.count - 2
    // The intervals that hold both ends, or are nearest to them.
    let first = min(last, max(0, edges.partition { $0 >= to } - 1))
    var sum = 0.0
    for i in first...last where edges[i + 1] < to {
      guard edges[i] > from else { break }
      let overlap = min(to, edges[i]) - max(from, edges[i + 1])
      if overlap > 0 { sum += masses[i] * (overlap / (edges[i] - edges[i + 1])) }
    }
    return sum
  }
}

extension [Double] {
  /// The number of leading elements that fulfil a condition, which no element after them does.
  fileprivate func partition(_ isBefore: (Double) -> Bool) -> Int {
    var (low, high) = (0, count)
    while low < high {
      let middle = (low + high) / 2
      if isBefore(self[middle]) { low = middle + 1 } else { high = middle }
    }
    return low
  }
}

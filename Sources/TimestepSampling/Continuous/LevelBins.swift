/// Bins of ln σ that cover what a process draws: what learning methods have in place of steps.
struct LevelBins: Sendable {
  /// How levels lie within a bin.
  private enum Shape: Sendable {
    /// As in the process's own draw, of which each bin has an equal share.
    case own(any NoiseLevels)
    /// Uniformly in ln σ.
    case uniform
  }

  /// The edges, rising: one more than there are bins. The outer ones may be infinite.
  let edges: [Double]
  private let shape: Shape

  var count: Int { edges.count - 1 }

  /// Bins of equal probability in the process's own draw: of equal width in t for rectified flow and VP, in ln σ for VE.
  init(ofEqualShare count: Int, of process: ContinuousProcess) throws {
    let own = try process.sampling.levels(of: process)
    let (low, high) = process.logSigmaRange
    let inner = (1..<count).map { k in
      own.logSigma(
        Probability(lower: Double(k) / Double(count), upper: Double(count - k) / Double(count)), at: 0)
    }
    edges = [low] + inner + [high]
    shape = .own(own)
  }

  /// Bins of equal width in ln σ.
  init(ofEqualWidth count: Int, from low: Double, to high: Double) {
    edges = (0...count).map { $0 == count ? high : low + (high - low) * (Double($0) / Double(count)) }
    shape = .uniform
  }

  /// The bin of a level; the nearest one outside the edges.
  func index(of x: Double) -> Int { min(count - 1, max(0, edges.partition { $0 <= x } - 1)) }

  /// The probability of each bin in a distribution.
  func masses(in levels: any NoiseLevels, at step: UInt64) -> [Double] {
    zip(edges, edges.dropFirst()).map { levels.mass(from: $0, to: $1, at: step) }
  }

  /// ln σ at a place within a bin.
  func logSigma(in bin: Int, at place: Probability) -> Double {
    switch shape {
    case .uniform: return edges[bin] + (edges[bin + 1] - edges[bin]) * place.lower
    case .own(let own):
      let count = Double(count)
      return own.logSigma(
        place.rescaled(
          begin: Double(bin) / count, width: 1 / count, end: Double(edges.count - 2 - bin) / count), at: 0)
    }
  }

  /// The share of a bin's levels in [from, to].
  func share(of bin: Int, from: Double, to: Double) -> Double {
    let (from, to) = (max(from, edges[bin]), min(to, edges[bin + 1]))
    guard from < to else { return 0 }
    switch shape {
    case .uniform: return (to - from) / (edges[bin + 1] - edges[bin])
    case .own(let own): return min(1, own.mass(from: from, to: to, at: 0) * Double(count))
    }
  }
}

/// Noise levels of which each bin has a probability of its own.
struct BinnedLevels: NoiseLevels {
  let bins: LevelBins
  let probabilities: [Double]
  /// The probability below each edge, and above it.
  private let below: [Double]
  private let above: [Double]

  init(bins: LevelBins, probabilities: [Double]) {
    self.bins = bins
    self.probabilities = probabilities
    func sums(_ masses: some Sequence<Double>) -> [Double] {
      masses.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1) }
    }
    below = sums(probabilities)
    above = sums(probabilities.reversed()).reversed()
  }

  func logSigma(_ p: Probability, at step: UInt64) -> Double {
    // The bin whose sum up to its nearer edge does not reach the probability, and up to its other edge does.
    let isLower = p.lower < 0.5
    let found = isLower ? below.partition { $0 <= p.lower } - 1 : above.partition { $0 > p.upper } - 1
    let bin = min(bins.count - 1, max(0, found))
    let share = isLower ? (p.lower - below[bin]) / probabilities[bin] : (p.upper - above[bin + 1]) / probabilities[bin]
    // Rounding must not leave the bin, nor reach an edge that is infinite.
    let place = min(1 - 0x1p-53, max(0x1p-64, share))
    return bins.logSigma(
      in: bin,
      at: isLower ? Probability(lower: place, upper: 1 - place) : Probability(lower: 1 - place, upper: place))
  }

  func mass(from: Double, to: Double, at step: UInt64) -> Double {
    guard from < to else { return 0 }
    return (bins.index(of: from)...bins.index(of: to)).reduce(0) {
      $0 + probabilities[$1] * bins.share(of: $1, from: from, to: to)
    }
  }
}

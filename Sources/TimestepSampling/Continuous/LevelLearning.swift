import NoiseSchedules

// The learning methods on a continuous process: bins of noise levels take the place of steps.

/// A sampling of noise levels that learns from losses.
protocol LearningLevelSampling: Sampling {
  /// Its bins, and what it has learned in them: nothing yet.
  func learner(of process: ContinuousProcess) throws -> (bins: LevelBins, state: any SamplingState)
}

extension AdaptiveSampling: LearningLevelSampling {
  /// Bins of equal share in the process's own draw, whose objective it keeps.
  func learner(of process: ContinuousProcess) throws -> (bins: LevelBins, state: any SamplingState) {
    (
      try LevelBins(ofEqualShare: bins, of: process),
      AdaptiveState(steps: bins, means: try BinMeans(bins: bins, decay: decay, steps: bins))
    )
  }
}

extension InfoNoiseSampling: LearningLevelSampling {
  /// Bins of equal width in ln σ. Until they are warm, each has the probability of the process's own draw.
  func learner(of process: ContinuousProcess) throws -> (bins: LevelBins, state: any SamplingState) {
    let (low, high) = process.entropyRange
    let bins = LevelBins(ofEqualWidth: bins, from: low, to: high)
    let middles = zip(bins.edges, bins.edges.dropFirst()).map { $0 + ($1 - $0) / 2 }
    let rate = EntropyRate(
      logSigma: middles, widths: [Double](repeating: (high - low) / Double(bins.count), count: bins.count))
    let prior = try normalized(
      bins.masses(in: process.sampling.levels(of: process), at: 0), "process",
      "must draw noise levels between \(Double.exp(low)) and \(Double.exp(high)) for info_noise")
    return (
      bins,
      InfoNoiseState(
        sampling: self, rate: rate, prior: prior,
        means: try BinMeans(bins: self.bins, decay: decay, steps: self.bins)
      ) { "sigma = \(Double.exp(middles[$0]))" }
    )
  }
}

extension ContinuousProcess {
  /// The range of ln σ that `InfoNoiseSampling` draws and estimates c on: the process's own, [0.002, 80] for EDM, and t from
  /// 0.001 to 0.999 for rectified flow.
  var entropyRange: (low: Double, high: Double) {
    switch kind {
    case .variancePreserving, .varianceExploding: logSigmaRange
    case .edm: (Double.log(0.002), Double.log(80))
    case .flow: (logSigma(ofLevel: 0.001), logSigma(ofLevel: 0.999))
    }
  }
}

extension Weighting {
  /// The factors of a weight that learn from losses.
  var learningFactors: [UncertaintyWeighting] {
    switch self {
    case let uncertainty as UncertaintyWeighting: [uncertainty]
    case let product as ProductWeighting: product.a.learningFactors + product.b.learningFactors
    default: []
    }
  }

  /// Whether w contains 1/p.
  var dividesByDensity: Bool {
    switch self {
    case is ToEmphasisWeighting: true
    case let product as ProductWeighting: product.a.dividesByDensity || product.b.dividesByDensity
    default: false
    }
  }
}

extension UncertaintyWeighting: NoiseLevelWeighting {
  /// The factor that is not learned: 1. `LevelCourse` has the one that is.
  func weight(in context: NoiseLevelContext) -> NoiseLevelWeight { { _, _ in 1 } }
}

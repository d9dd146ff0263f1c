import NoiseSchedules

/// InfoNoise: P·w ∝ ρ̂, the gated conditional entropy rate that is estimated from the losses, where w is the weight on the
/// x₀ loss. Hence P ∝ ρ̂/w.
///
/// The means of the ε loss run in bins of equal width in t; losses of any target are converted. Uniform until each bin
/// that is drawn with more than a hundredth of the average probability has had `warmUp` losses; then a bin without any
/// takes its nearest neighbour's mean. `EntropyRate` has the formulas and the source; bins, decay and warm-up are
/// SpeeDiff's own.
public struct InfoNoiseSampling: ChangingSampling {
  /// The suppression of low noise: σⁿ/(σⁿ+cⁿ).
  public struct Gate: Sendable, Equatable {
    /// c, at least 0; 0: no gate. nil: where the rate falls below `threshold` of its largest value for good.
    public let c: Double?
    /// n, above 0.
    public let order: Double
    /// p, in (0, 1).
    public let threshold: Double

    /// Makes a gate.
    ///
    /// - Throws: `ArgumentError` if a value is out of range.
    public init(c: Double? = nil, order: Double = 3, threshold: Double = 0.002) throws {
      if let c, !(c >= 0 && c.isFinite) { throw ArgumentError("c", "must be finite and at least 0", got: c) }
      try checkPositive("n", order)
      guard threshold > 0, threshold < 1 else { throw ArgumentError("p", "must be in (0, 1)", got: threshold) }
      self.c = c
      self.order = order
      self.threshold = threshold
    }
  }

  /// The number of bins.
  public let bins: Int
  /// The share of the old mean that each entry keeps, in [0, 1).
  public let decay: Double
  /// The suppression of low noise.
  public let gate: Gate
  /// How many losses each bin needs before P follows them.
  public let warmUp: Int

  /// Makes the sampling.
  ///
  /// - Throws: `ArgumentError` unless bins ≥ 1, decay is in [0, 1), and 1 ≤ warmUp ≤ 2³¹.
  public init(bins: Int = 100, decay: Double = 0.999, gate: Gate, warmUp: Int = 10) throws {
    try BinMeans.check(bins: bins, decay: decay)
    guard warmUp >= 1, warmUp <= 1 << 31 else { throw ArgumentError("warm_up", "must be in [1, 2³¹]", got: warmUp) }
    self.bins = bins
    self.decay = decay
    self.gate = gate
    self.warmUp = warmUp
  }

  /// No losses yet.
  ///
  /// - Throws: `ArgumentError` if there are more bins than steps, or fewer than two steps have S > 0.
  public func state(for schedule: NoiseSchedule) throws -> any SamplingState {
    let edges = LogSNRBins(of: schedule).edges
    let rate = EntropyRate(
      logSigma: schedule.logSNR.filter { $0 > -.infinity }.map { -$0 / 2 },
      widths: zip(edges, edges.dropFirst()).map { ($0 - $1) / 2 })
    guard rate.widths.contains(where: { $0 > 0 }) else {
      throw ArgumentError("schedule", "must have at least 2 steps with S > 0 for info_noise", got: rate.widths.count)
    }
    return InfoNoiseState(
      sampling: self, rate: rate, prior: UniformSampling().probabilities(for: schedule),
      means: try BinMeans(bins: bins, decay: decay, steps: schedule.steps)
    ) { step in "index \(step) (t = \(step + 1))" }
  }
}

/// P over steps, or over bins of a continuous process. Steps after those of `rate` have S = 0.
struct InfoNoiseState: SamplingState {
  private let sampling: InfoNoiseSampling
  private let rate: EntropyRate
  private let prior: [Double]
  /// What a step is called in errors.
  private let name: @Sendable (Int) -> String
  private var means: BinMeans
  /// How many losses each bin has had, at most `warmUp`.
  private var counts: [Int]
  /// Whether each bin that can be drawn has had enough.
  private var isWarm = false
  /// The weights on the x₀ loss.
  private var weights: [Double] = []
  /// What turns a step's loss into one of ε.
  private var conversions: [Double] = []

  init(
    sampling: InfoNoiseSampling, rate: EntropyRate, prior: [Double], means: BinMeans,
    name: @escaping @Sendable (Int) -> String
  ) {
    (self.sampling, self.rate, self.prior, self.means, self.name) = (sampling, rate, prior, means, name)
    counts = [Int](repeating: 0, count: sampling.bins)
  }

  let followsWeights = true

  mutating func follow(_ objective: Objective) throws {
    let prediction = try objective.prediction.required(by: "info_noise")
    let snr = rate.logSigma.map { Double.exp(-2 * $0) }
    weights = zip(objective.weights, snr).map { prediction.sampleWeight($0, snr: $1) }
    if let step = weights.firstIndex(where: { !($0 > 0) }) {
      throw ArgumentError(
        "weighting", "must be above 0 everywhere for info_noise, which divides by it",
        got: "\(objective.weights[step]) at \(name(step))")
    }
    conversions =
      snr.map { prediction.weight(epsilon: 1, snr: $0) }
      + [Double](repeating: 0, count: prior.count - snr.count)
  }

  func probabilities(at step: UInt64) throws -> [Double] {
    guard isWarm, let losses = try means.stepMeans(floor: 0, gap: .nearest) else { return prior }
    let rates = rate.masses(of: Array(losses.prefix(rate.logSigma.count)), gate: sampling.gate)
    // An infinite weight is never drawn.
    let masses = zip(rates, weights).map { $0 / $1 }
    guard let most = masses.max(), most >= .leastNormalMagnitude, most.isFinite else { return prior }
    return try normalized(masses.map { $0 / most }, "losses", "must have a finite sum")
      + [Double](repeating: 0, count: prior.count - masses.count)
  }

  /// Bins that are drawn less than this often, relative to the average, are not waited for: a process may draw the ends of
  /// its range once in a million times.
  private static let negligible = 0.01

  mutating func update(_ batch: LossBatch) {
    var batch = batch.scales == nil ? batch.weighted(conversions) : batch
    let least = Self.negligible / Double(prior.count)
    batch.probabilities = batch.probabilities.map { $0 < least ? 0 : $0 }
    means.update(batch)
    for t in batch.timesteps {
      let bin = means.bin(of: t)
      counts[bin] = min(counts[bin] + 1, sampling.warmUp)
    }
    isWarm =
      isWarm
      || batch.probabilities.enumerated().allSatisfy { step, p in
        p == 0 || counts[means.bin(of: step)] >= sampling.warmUp
      }
  }

  /// Whether it is warm, each bin's count, and the means.
  var history: [Double] { [isWarm ? 1 : 0] + counts.map(Double.init) + means.history }
  var historyCount: Int { 1 + counts.count + means.historyCount }

  mutating func restore(_ history: inout HistoryReader) throws {
    isWarm = try history.nextInteger(in: 0...1) == 1
    for bin in counts.indices { counts[bin] = try history.nextInteger(in: 0...sampling.warmUp) }
    try means.restore(&history)
  }
}

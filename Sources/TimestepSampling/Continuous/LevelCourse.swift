import NoiseSchedules
import Synchronization

/// The noise levels and the weights of a sampler that learns, over the course of training.
///
/// It is to a continuous process what `SamplerCourse` is to a schedule.
final class LevelCourse: Sendable {
  /// What is drawn now, and with which weight.
  struct Tables: Sendable {
    let levels: any NoiseLevels
    let weight: NoiseLevelWeight
    /// What stands for the quantile and the weight, as far as they stay the same over training.
    let table: NoiseLevelTable?
  }

  private struct Factor: Sendable {
    let bins: LevelBins
    var state: UncertaintyState
  }

  private struct State: Sendable {
    /// nil: what is drawn does not change.
    var sampling: (any SamplingState)?
    var factors: [Factor]
    var tables: Tables
  }

  private let process: ContinuousProcess
  private let prediction: PredictionTarget
  /// The bins of the sampling; nil if it does not learn.
  private let bins: LevelBins?
  /// What is drawn if the sampling does not learn, and the weight without what is learned.
  private let fixed: Tables
  private let state: Mutex<State>
  /// The length of `history`.
  let historyCount: Int

  /// - Parameters:
  ///   - process: the process.
  ///   - prediction: the target of the losses.
  ///   - sampling: what to draw, if it learns.
  ///   - factors: the factors of the weight that learn.
  ///   - fixed: what to draw, if it does not learn, and the weight without what is learned.
  init(
    process: ContinuousProcess, prediction: PredictionTarget, sampling: (any LearningLevelSampling)?,
    factors: [UncertaintyWeighting], fixed: Tables
  ) throws {
    self.process = process
    self.prediction = prediction
    self.fixed = fixed
    let learner = try sampling?.learner(of: process)
    bins = learner?.bins
    var state = State(
      sampling: learner?.state,
      factors: try factors.map { factor in
        Factor(
          bins: try LevelBins(ofEqualShare: factor.bins, of: process),
          state: UncertaintyState(
            steps: factor.bins, means: try BinMeans(bins: factor.bins, decay: factor.decay, steps: factor.bins)))
      }, tables: fixed)
    historyCount =
      (learner?.state.historyCount ?? 0) + state.factors.reduce(0) { $0 + $1.state.historyCount }
    try Self.refresh(&state, bins, fixed, prediction)
    self.state = Mutex(state)
  }

  /// What is drawn now.
  var tables: Tables { state.withLock { $0.tables } }

  /// Learns from the losses of a batch; on an error nothing has changed.
  func update(levels: UnsafeBufferPointer<Float>, losses: UnsafeBufferPointer<Float>, step: UInt64) throws {
    let places = try logSigmas(of: levels)
    try checkLosses(losses)
    guard !places.isEmpty else { return }
    let losses = Array(losses)
    try state.withLock { state in
      var next = state
      let drawn = state.tables
      // Each factor sees the others as they were before the update.
      let factors = try state.factors.map { try Self.values(of: $0, at: places) }
      let plain = places.map { fixed.weight($0, step) }
      for i in next.factors.indices {
        let bins = next.factors[i].bins
        var scales = plain
        for (other, values) in factors.enumerated() where other != i { scales = zip(scales, values).map { $0 * $1 } }
        next.factors[i].state.update(
          LossBatch(
            bins: places.map(bins.index), losses: losses, scales: scales,
            probabilities: bins.masses(in: drawn.levels, at: step)))
      }
      if let bins, let levels = drawn.levels as? BinnedLevels {
        let scales: [Double]
        if next.sampling?.followsWeights == true {
          scales = places.map { prediction.weight(epsilon: 1, snr: Double.exp(-2 * $0)) }
        } else {
          scales = factors.reduce(plain) { zip($0, $1).map { $0 * $1 } }
        }
        try next.sampling?.update(
          LossBatch(
            bins: places.map(bins.index), losses: losses, scales: scales, probabilities: levels.probabilities))
      }
      try Self.refresh(&next, bins, fixed, prediction)
      state = next
    }
  }

  /// All that was learned.
  var history: [Double] {
    state.withLock { ($0.sampling?.history ?? []) + $0.factors.flatMap(\.state.history) }
  }

  /// Restores a history; on an error nothing has changed.
  func restore(_ history: [Double]) throws {
    try state.withLock { state in
      var next = state
      var reader = HistoryReader(history)
      try next.sampling?.restore(&reader)
      for i in next.factors.indices { try next.factors[i].state.restore(&reader) }
      try reader.finish()
      do {
        try Self.refresh(&next, bins, fixed, prediction)
      } catch let error as ArgumentError {
        throw ArgumentError("history", "must be one that this sampler can have", got: "one that fails: \(error)")
      }
      state = next
    }
  }

  /// ln σ of the levels.
  private func logSigmas(of levels: UnsafeBufferPointer<Float>) throws -> [Double] {
    let end = process.kind == .flow ? Float(1) : .infinity
    for (i, level) in levels.enumerated() where !(level > 0 && level < end) {
      throw ArgumentError(
        "levels[\(i)]", process.kind == .flow ? "must be in (0, 1)" : "must be finite and above 0", got: level)
    }
    return levels.map { process.logSigma(ofLevel: Double($0)) }
  }

  private static func values(of factor: Factor, at places: [Double]) throws -> [Double] {
    let table = try factor.state.weights(under: [])
    return places.map { table[factor.bins.index(of: $0)] }
  }

  /// Makes the tables of what was learned. A table of polynomials for a quantile that the next update changes would cost
  /// more than it saves.
  private static func refresh(
    _ state: inout State, _ bins: LevelBins?, _ fixed: Tables, _ prediction: PredictionTarget
  ) throws {
    let factors = try state.factors.map { (bins: $0.bins, table: try $0.state.weights(under: [])) }
    let learned: NoiseLevelWeight = { x, step in
      factors.reduce(fixed.weight(x, step)) { $0 * $1.table[$1.bins.index(of: x)] }
    }
    guard let bins, var sampling = state.sampling else {
      state.tables = Tables(levels: fixed.levels, weight: learned, table: fixed.table?.withoutWeight)
      return
    }
    if sampling.followsWeights {
      let middles = (0..<bins.count).map { bins.logSigma(in: $0, at: Probability(lower: 0.5, upper: 0.5)) }
      try sampling.follow(Objective(weights: middles.map { learned($0, 0) }, prediction: prediction))
      state.sampling = sampling
    }
    let probabilities = try sampling.probabilities(at: 0)
    guard sampling.keepsObjective(at: 0) else {
      state.tables = Tables(
        levels: BinnedLevels(bins: bins, probabilities: probabilities), weight: learned, table: nil)
      return
    }
    let importance = importanceFactors(of: probabilities)
    state.tables = Tables(
      levels: BinnedLevels(bins: bins, probabilities: probabilities),
      weight: { x, step in learned(x, step) * importance[bins.index(of: x)] }, table: nil)
  }
}

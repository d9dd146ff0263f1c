import NoiseSchedules
import Synchronization

/// Draws the noise levels of a continuous process, with their weights.
///
/// As in `TimestepSampler`, a draw is a pure function of the seed, the training step, the entry's index in the global
/// batch, and the size of the global batch. Any number of threads may use a sampler at once.
public final class SigmaSampler: Sendable {
  /// The process.
  public let process: ContinuousProcess
  /// Seed, layout, strata and normalization. If no target is given, it is the process's own.
  public let options: SamplerOptions
  /// The bound of the weights at the start of training, or nil.
  public let weightWarmUp: WeightWarmUp?

  /// What is drawn, if nothing is learned.
  private let fixed: LevelCourse.Tables
  /// What is learned from losses; nil: nothing.
  let course: LevelCourse?
  /// The factor of all weights: 1, or 1/E[w] with `normalize`.
  let scale: Double
  /// Whether the weight of a noise level depends on how often it is drawn.
  let weightFollowsDraws: Bool
  /// What moved draws of a process with bounds need; made by the first of them.
  private let moves = AtomicLazyReference<MoveTable>()

  /// Combines a process, a sampling and a weighting.
  ///
  /// - Parameters:
  ///   - process: the process.
  ///   - sampling: which noise levels to draw; nil: the process's own sampling.
  ///   - weighting: how much each counts; nil: the process's own weight.
  ///   - options: seed, layout, strata, target and normalization.
  ///   - weightWarmUp: FDM's bound of the weights; excludes `normalize` and methods that learn.
  /// - Throws: `ArgumentError` if the sampling, weighting or options do not fit the process or each other.
  public init(
    process: ContinuousProcess, sampling: (any Sampling)? = nil, weighting: (any Weighting)? = nil,
    options: SamplerOptions, weightWarmUp: WeightWarmUp? = nil
  ) throws {
    guard weightWarmUp == nil || !options.normalize else {
      throw ArgumentError("normalize", "must be false with a warm-up of the weights", got: true)
    }
    self.process = process
    self.options = options
    self.weightWarmUp = weightWarmUp
    let learning = sampling as? any LearningLevelSampling
    let levels =
      try learning == nil
      ? sampling?.levels(in: process, "sampling") ?? process.sampling.levels(of: process)
      : process.sampling.levels(of: process)
    let (weighting, prediction) = (weighting ?? process.weighting, options.prediction ?? process.prediction)
    let weight = try weighting.noiseLevelWeight(
      in: NoiseLevelContext(process: process, prediction: prediction, levels: levels))
    fixed = LevelCourse.Tables(
      levels: levels, weight: weight,
      table: learning == nil && levels.isFixed
        ? NoiseLevelTable(levels: levels, weight: weighting.isTabulatedForLevels ? weight : nil) : nil)
    course = try Self.course(
      process, prediction, learning, weighting, fixed: fixed, normalize: options.normalize,
      warmsUp: weightWarmUp != nil)
    weightFollowsDraws = weighting.dividesByDensity
    guard options.normalize else {
      scale = 1
      return
    }
    let mean = NoiseLevelGrid(of: levels, at: 0, intervals: 1 << 14).mean(of: weight)
    guard mean > 0, mean.isFinite else {
      throw ArgumentError(
        "normalize", "must be false unless the mean weight is finite and above 0", got: "a mean of \(mean)")
    }
    scale = 1 / mean
  }

  /// The target whose loss the weights are for.
  public var prediction: PredictionTarget { options.prediction ?? process.prediction }

  /// The weight at a noise level, before normalization and warm-up.
  public func weight(atLogSigma x: Double, at step: UInt64 = 0) -> Double { tables.weight(x, step) }

  /// What is drawn now.
  var tables: LevelCourse.Tables { course?.tables ?? fixed }

  /// The table of moved draws; nil if only the density itself can be asked.
  func moveTable() -> MoveTable? {
    if let table = moves.load() { return table }
    guard let sigma = fixed.table?.sigma, let table = MoveTable(levels: fixed.levels, sigma: sigma, process: process)
    else { return nil }
    return moves.storeIfNil(table)
  }

  /// The probability that ln σ lies in [from, to].
  public func mass(logSigmaFrom from: Double, to: Double, at step: UInt64 = 0) -> Double {
    tables.levels.mass(from: from, to: to, at: step)
  }

  /// What the sampler asks the network to learn: the density of λ times the weight of the ε loss. It is given at 1024
  /// values of λ, which cover all but 2·10⁻⁹ of the draws within |λ| ≤ 60.
  ///
  /// - Throws: `ArgumentError` if no noise level has a finite weight above 0.
  public func emphasis(at step: UInt64 = 0) throws -> Emphasis {
    let tables = tables
    let grid = NoiseLevelGrid(of: tables.levels, at: step, intervals: 1024)
    return try Emphasis(
      logSNR: grid.middles.map { -2 * $0 },
      masses: zip(grid.middles, grid.masses).map { x, mass in
        mass > 0 ? mass * prediction.epsilonWeight(tables.weight(x, step), snr: Double.exp(-2 * x)) : 0
      })
  }

  /// Draws consecutive calls of this rank with `count` entries each; row-major (calls, count).
  ///
  /// - Parameters:
  ///   - firstCall: the first call's number: step·accumulation + micro-batch.
  ///   - calls: how many, at least 0.
  ///   - count: n, the local batch.
  ///   - levels: room for calls·count values: σ, or t for rectified flow.
  ///   - weights: room for calls·count weights.
  /// - Throws: `ArgumentError` if the numbers are out of range; then nothing is written.
  public func draw(
    firstCall: UInt64, calls: Int, count: Int, levels: UnsafeMutablePointer<Float>,
    weights: UnsafeMutablePointer<Float>
  ) throws {
    try options.layout.check(calls: calls, from: firstCall, count: count)
    guard calls > 0, count > 0 else { return }
    for call in 0..<calls {
      let slice = try options.layout.slice(call: firstCall &+ UInt64(call), count: count)
      draw(slice, levels: levels + call * count, weights: weights + call * count)
    }
  }

  /// Draws any entries of any step.
  ///
  /// - Parameters:
  ///   - slice: which entries; the sampler's own layout is not used.
  ///   - levels: room for `slice.count` values.
  ///   - weights: room for `slice.count` weights.
  public func draw(
    _ slice: BatchSlice, levels: UnsafeMutablePointer<Float>, weights: UnsafeMutablePointer<Float>
  ) {
    fill(slice, from: SigmaQuantiles(tables: tables, step: slice.step), levels: levels, weights: weights)
  }
}

/// FDM's bound of the weights at the start of training: 5·100^{step/steps} up to training step `steps`, then none.
///
/// Source: Wu et al., "Fast Diffusion Model", 2023; sail-sg/FDM, `training/loss.py`.
public struct WeightWarmUp: Sendable, Equatable {
  /// The training (optimizer) step from which on there is no bound.
  public let steps: Int

  /// Makes the warm-up.
  ///
  /// - Throws: `ArgumentError` unless steps is in [1, 2⁵³].
  public init(steps: Int) throws {
    guard steps >= 1, steps <= BlendSampling.largestStep else {
      throw ArgumentError("warm_up", "must be in [1, \(BlendSampling.largestStep)]", got: steps)
    }
    self.steps = steps
  }

  /// The largest weight at a training step.
  public func bound(at step: UInt64) -> Double {
    step < UInt64(steps) ? 5 * Double.pow(100, Double(step) / Double(steps)) : .infinity
  }
}

import NoiseSchedules

extension SigmaSampler {
  /// What a sampler learns from losses; nil if nothing does.
  ///
  /// - Throws: `ArgumentError` if what learns does not fit the options.
  static func course(
    _ process: ContinuousProcess, _ prediction: PredictionTarget, _ sampling: (any LearningLevelSampling)?,
    _ weighting: any Weighting, fixed: LevelCourse.Tables, normalize: Bool, warmsUp: Bool
  ) throws -> LevelCourse? {
    let factors = weighting.learningFactors
    guard sampling != nil || !factors.isEmpty else { return nil }
    guard !normalize else {
      throw ArgumentError(
        "normalize", "must be false for a continuous process with a method that learns, whose mean weight changes",
        got: true)
    }
    // The bound would cut what corrects for the draw, and what is learned would be of weights without it.
    guard !warmsUp else {
      throw ArgumentError(
        sampling == nil ? "weighting" : "sampling", "must not learn with a warm-up of the weights",
        got: "one that learns from losses; leave out warm_up")
    }
    guard sampling == nil || !weighting.dividesByDensity else {
      throw ArgumentError("weighting", "must not depend on p with a sampling that learns", got: "to_emphasis")
    }
    return try LevelCourse(
      process: process, prediction: prediction, sampling: sampling, factors: factors, fixed: fixed)
  }

  /// The length of `history`; 0 unless the sampling or the weighting learns from losses.
  public var historyCount: Int { course?.historyCount ?? 0 }

  /// Learns from the losses of a batch. The next draw uses what was learned.
  ///
  /// - Parameters:
  ///   - levels: what `draw` gave, of the whole global batch: σ, or t for rectified flow.
  ///   - losses: one for each level, before any weight; finite and ≥ 0.
  ///   - step: the training step, for weights that follow it.
  /// - Throws: `ArgumentError` if the numbers are out of range or no method learns; then nothing has changed.
  public func update(
    levels: UnsafeBufferPointer<Float>, losses: UnsafeBufferPointer<Float>, step: UInt64 = 0
  ) throws {
    guard levels.count == losses.count else {
      throw ArgumentError("losses", "must be as many as the levels (\(levels.count))", got: losses.count)
    }
    guard let course else {
      throw ArgumentError(
        "sampler", "must have a method that learns from losses",
        got: "one that learns nothing; do not update it, or use adaptive, info_noise or uncertainty")
    }
    try course.update(levels: levels, losses: losses, step: step)
  }

  /// All that was learned, as plain numbers. Empty for methods that learn nothing.
  public var history: [Double] { course?.history ?? [] }

  /// Restores what `history` returned for the same process and methods.
  ///
  /// - Throws: `ArgumentError` unless `history` can return these numbers; then nothing has changed.
  public func restore(history: [Double]) throws {
    if let course { return try course.restore(history) }
    let reader = HistoryReader(history)
    try reader.finish()
  }
}

import ArgumentErrors
import TimestepSampling

extension Trainer {
  /// Forward and backward on the caller's memory.
  public func backward(_ batch: UnsafeBatch) throws -> Double {
    try exclusively { try runBackward(batch) }
  }

  private func runBackward(_ given: UnsafeBatch) throws -> Double {
    let layout = sampler.options.layout
    guard microBatches < layout.accumulation else {
      throw ArgumentError(
        "backward", "must be called once for each of the \(layout.accumulation) micro-batches before apply",
        got: "another call")
    }
    guard globalStep < Self.maximumSteps else {
      throw ArgumentError("global_step", "must be below \(Self.maximumSteps) for another step", got: globalStep)
    }
    let slice = try check(given)
    guard given.count > 0 else { return addNothing() }
    let training = try trainingProgram(for: given.count)
    let batch = training.batch
    try draw(given, slice, training)
    (batch.images, batch.givenNoise, batch.givenSecondNoise) = (given.images, given.noise, given.secondNoise)
    defer { (batch.images, batch.givenNoise, batch.givenSecondNoise) = (nil, nil, nil) }
    (batch.step, batch.firstEntry) = (step, slice.offset)
    let parts = given.place.map(\.total) ?? given.count
    batch.scale = 1 / (Double(parts) * Double(given.place == nil ? layout.accumulation : 1))
    training.samples.count = given.count
    lastCount = given.count
    training.run(pool)
    if microBatches == 0 { stepLosses.removeAll() }
    if sampler.historyCount > 0 { stepLosses.append(batch, count: given.count) }
    accumulation.hasBegun = true
    microBatches += 1
    microBatchSize = given.count
    let objective = batch.sum(given.count) / Double(parts)
    guard objective.isFinite else {
      dropGradients()
      let place =
        memory.firstNonFiniteParameter(of: network.parameters).map { "the parameter \($0)" }
        ?? training.firstNonFiniteOperation(pool).map { "the output of \($0)" } ?? "the loss"
      throw TrainingError.notFinite(
        "loss must be finite, got \(objective) at step \(globalStep); the first tensor that is not finite is \(place). The step was not applied"
      )
    }
    return objective
  }

  /// An empty part of the global batch: its gradient is 0, and it counts as a micro-batch.
  private func addNothing() -> Double {
    if !accumulation.hasBegun { memory.gradients.base.update(repeating: 0, count: memory.gradients.count) }
    if microBatches == 0 { stepLosses.removeAll() }
    accumulation.hasBegun = true
    microBatches += 1
    (microBatchSize, lastCount) = (0, 0)
    return 0
  }

  /// Discards the micro-batches of the current step; the next `backward` is its first one.
  public func discard() throws {
    try exclusively { dropGradients() }
  }

  /// Discards the micro-batches of this step.
  func dropGradients() {
    accumulation.hasBegun = false
    microBatches = 0
  }

  /// Checks a batch, before anything has changed.
  private func check(_ batch: UnsafeBatch) throws -> BatchSlice {
    let least = batch.place == nil ? 1 : 0
    guard batch.count >= least, batch.count <= 1 << 20 else {
      throw ArgumentError("n", "must be in [\(least), \(1 << 20)]", got: batch.count)
    }
    let slice = try slice(of: batch)
    guard Noise.canFill(entries: slice.total, elements: loss.elements) else {
      throw ArgumentError(
        batch.place == nil ? "n" : "total",
        "must be smaller: a step has no noise left for all of \(slice.total) images",
        got: batch.place?.total ?? batch.count)
    }
    let elements = batch.count * loss.elements
    try checkFinite(batch.images, elements, "x")
    if let noise = batch.noise { try checkFinite(noise, elements, "noise") }
    try checkPasses(batch, entries: slice.total)
    if let weights = batch.weights { try checkFinite(weights, batch.count, "weights") }
    try checkLabels(batch.labels, batch.count)
    if let timesteps = batch.timesteps {
      let steps = sampler.schedule.steps
      for i in 0..<batch.count where timesteps[i] < 0 || timesteps[i] >= steps {
        throw ArgumentError("t[\(i)]", "must be in [0, \(steps))", got: timesteps[i])
      }
    }
    return slice
  }

  /// Checks the arguments for a second pass, and for hidden tokens.
  private func checkPasses(_ batch: UnsafeBatch, entries: Int) throws {
    if let noise = batch.secondNoise {
      guard passes > 1 else {
        throw ArgumentError("masked_noise", "must not be given to a network with one pass", got: "some")
      }
      try checkFinite(noise, batch.count * loss.elements, "masked_noise")
    }
    guard let tokens = maskableTokens else {
      guard batch.kept == nil else {
        throw ArgumentError("kept", "must not be given to a network without masks", got: "some")
      }
      return
    }
    guard TokenMasks.canFill(entries: entries, tokens: tokens) else {
      throw ArgumentError(
        batch.place == nil ? "n" : "total",
        "must be smaller: a step has no random numbers left to mask all of \(entries) images",
        got: batch.place?.total ?? batch.count)
    }
    guard let kept = batch.kept else { return }
    let count = batch.keptCount
    guard count >= 1, count <= tokens else {
      throw ArgumentError("kept_count", "must be in [1, \(tokens)]", got: count)
    }
    var owner = [Int](repeating: -1, count: tokens)
    for i in 0..<batch.count * count {
      guard kept[i] >= 0, kept[i] < tokens else {
        throw ArgumentError("kept[\(i)]", "must be in [0, \(tokens))", got: kept[i])
      }
      guard owner[Int(kept[i])] != i / count else {
        throw ArgumentError("kept[\(i)]", "must not repeat a token of its sample", got: kept[i])
      }
      owner[Int(kept[i])] = i / count
    }
  }

  /// Which entries of the global batch these are.
  private func slice(of batch: UnsafeBatch) throws -> BatchSlice {
    if let place = batch.place {
      return try BatchSlice(step: step, offset: place.offset, count: batch.count, total: place.total)
    }
    guard microBatches == 0 || batch.count == microBatchSize else {
      throw ArgumentError(
        "n", "must be \(microBatchSize), as in this step's other micro-batches", got: batch.count)
    }
    let layout = sampler.options.layout
    return try layout.slice(
      call: step * UInt64(layout.accumulation) + UInt64(microBatches), count: batch.count)
  }

  func checkLabels(_ labels: UnsafePointer<Int64>?, _ count: Int) throws {
    let entries = self.labels?.entries ?? 0
    guard (labels == nil) == (entries == 0) else {
      throw ArgumentError(
        "y", entries == 0 ? "must not be given to a network without labels" : "must be given to a network with labels",
        got: labels == nil ? "none" : "labels")
    }
    guard let labels else { return }
    for i in 0..<count where labels[i] < 0 || labels[i] >= entries {
      throw ArgumentError("y[\(i)]", "must be in [0, \(entries))", got: labels[i])
    }
  }

  /// Writes timesteps, weights, labels and masks.
  private func draw(_ given: UnsafeBatch, _ slice: BatchSlice, _ training: TrainingProgram) throws {
    let batch = training.batch
    if let timesteps = given.timesteps {
      batch.timesteps.update(from: timesteps, count: given.count)
      let table = try sampler.weights(at: step)
      for i in 0..<given.count { batch.weights[i] = Float(table[Int(timesteps[i])]) }
    } else {
      try sampler.draw(slice, timesteps: batch.timesteps, weights: batch.weights)
    }
    if let weights = given.weights { batch.weights.update(from: weights, count: given.count) }
    if let errorFactors { for i in 0..<given.count { batch.weights[i] *= errorFactors[Int(batch.timesteps[i])] } }
    batch.masks = nil
    for pass in training.passes {
      dropLabels(given, slice, into: pass)
      chooseTokens(given, pass, batch)
    }
  }

  /// Writes the labels of a pass.
  private func dropLabels(_ given: UnsafeBatch, _ slice: BatchSlice, into pass: TrainingPass) {
    guard let labels = given.labels, let target = pass.labels?.base, let classes = self.labels else { return }
    let words = RandomStream(seed: options.seed, purpose: pass.description.labelDropout, step: step)
    for i in 0..<given.count {
      let isDropped =
        given.timesteps == nil && Double(words.word(at: slice.offset + i)) * 0x1p-32 < classes.dropout
      target[i] = Int32(isDropped ? Int64(classes.classes) : labels[i])
    }
  }

  /// Sets how many tokens a pass keeps if it hides some, and which if they are given.
  private func chooseTokens(_ given: UnsafeBatch, _ pass: TrainingPass, _ batch: TrainingBatch) {
    guard let order = pass.order, let hidden = pass.description.hidden else { return }
    guard let kept = given.kept else {
      let masks = TokenMasks(hidden, seed: options.seed, step: step)
      (batch.masks, order.kept.length) = (masks, masks.kept)
      return
    }
    order.kept.length = given.keptCount
    for i in 0..<given.count {
      order.keep((0..<given.keptCount).map { Int(kept[i * given.keptCount + $0]) }, sample: i)
    }
  }

  /// The timesteps and the unweighted mean squared errors of the last backward, one per sample.
  ///
  /// - Throws: `ArgumentError` if there was none.
  public func withLastLosses<Result>(
    _ body: (_ timesteps: UnsafeBufferPointer<Int64>, _ losses: UnsafeBufferPointer<Float>) throws -> Result
  ) throws -> Result {
    try exclusively {
      guard let lastCount else {
        throw ArgumentError("losses", "must be read after backward", got: "no backward yet")
      }
      return try body(
        UnsafeBufferPointer(start: training?.batch.timesteps, count: lastCount),
        UnsafeBufferPointer(start: training?.batch.losses, count: lastCount))
    }
  }
}

/// - Throws: `ArgumentError`, which names the first value that is not finite.
func checkFinite(_ values: UnsafePointer<Float>, _ count: Int, _ argument: String) throws {
  // x - x is 0 only if x is finite.
  var sum: Float = 0
  for i in 0..<count { sum += values[i] - values[i] }
  guard sum != 0 || sum.isNaN else { return }
  let i = (0..<count).first { !values[$0].isFinite } ?? 0
  throw ArgumentError("\(argument)[\(i)]", "must be finite", got: values[i])
}

import ArgumentErrors
import Kernels
import Networks
import NoiseSchedules
import Synchronization
import TimestepSampling

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Trains a DiT on the CPU: draw, noise, forward, backward, AdamW and the moving average of the parameters.
///
/// One thread at a time may use it; others get `TrainingError.busy`. Noise, dropped labels and initial parameters are
/// functions of (seed, step, place in the global batch), as the draw is: the same seed gives the same run, bit by bit on
/// one machine with one number of threads.
public final class Trainer: @unchecked Sendable {
  /// The network.
  public let network: DiT
  /// What draws time steps and weights; its target is the network's.
  public let sampler: TimestepSampler
  /// Optimizer, seed and threads.
  public internal(set) var options: TrainerOptions
  /// The updates so far.
  public internal(set) var globalStep: UInt64 = 0

  /// The parameters' names as C strings, which live as long as the trainer.
  public let parameterNames: [UnsafePointer<CChar>]

  let memory: TrainerMemory
  let pool: ThreadPool
  let loss: DiffusionLoss
  let accumulation = Accumulation()
  /// The micro-batches of this step so far, and the samples of each.
  var microBatches = 0
  var microBatchSize = 0

  private var training: TrainingProgram?
  private var inference: (program: InferenceProgram, usesAverage: Bool)?
  private var workspace: FloatMemory?
  private var lastCount = 0
  private let isBusy = Atomic<Bool>(false)
  private let process = getpid()

  /// Builds and initializes a network.
  ///
  /// - Throws: `ArgumentError` if something is out of range or does not fit together; `MemoryError`.
  public convenience init(
    _ configuration: DiTConfiguration, sampler: TimestepSampler, options: TrainerOptions
  ) throws {
    try self.init(uninitialized: configuration, sampler: sampler, options: options)
    initialize(network.parameters, at: memory.parameters.base, seed: options.seed, pool: pool)
    memory.average.base.update(from: memory.parameters.base, count: network.parameters.count)
  }

  /// The same with parameters of 0, for those that come from a file.
  init(
    uninitialized configuration: DiTConfiguration, sampler: TimestepSampler, options: TrainerOptions
  ) throws {
    try options.check()
    let network = try DiT(configuration)
    let prediction = sampler.options.prediction ?? .epsilon
    guard !configuration.learnsSigma || prediction != .epsilon || (sampler.schedule.alphasCumprod.last ?? 0) > 0 else {
      throw ArgumentError(
        "prediction", "must not be epsilon with learn_sigma where the last step has no signal (alphas_cumprod = 0)",
        got: "epsilon")
    }
    self.network = network
    self.sampler = sampler
    self.options = options
    loss = DiffusionLoss(
      schedule: sampler.schedule, prediction: prediction,
      elements: configuration.channels * configuration.inputSize * configuration.inputSize,
      learnsSigma: configuration.learnsSigma)
    memory = try TrainerMemory(network, threads: options.threads)
    pool = try ThreadPool(threads: options.threads)
    parameterNames = network.parameters.parameters.compactMap { strdup($0.name).map { UnsafePointer($0) } }
  }

  deinit {
    if getpid() != process { pool.abandon() }
    for name in parameterNames { free(UnsafeMutableRawPointer(mutating: name)) }
  }

  /// The memory of a trainer.
  public enum Buffer: Sendable {
    case parameters, gradients, firstMoment, secondMoment, average, positions
  }

  /// Memory itself, valid as long as the trainer.
  public func buffer(_ buffer: Buffer) -> UnsafeMutableBufferPointer<Float> {
    let floats =
      switch buffer {
      case .parameters: memory.parameters
      case .gradients: memory.gradients
      case .firstMoment: memory.firstMoment
      case .secondMoment: memory.secondMoment
      case .average: memory.average
      case .positions: memory.positions
      }
    return UnsafeMutableBufferPointer(start: floats.base, count: floats.count)
  }

  /// The target of the network.
  public var prediction: PredictionTarget { sampler.options.prediction ?? .epsilon }

  /// Runs `body` while nobody else may.
  ///
  /// - Throws: `TrainingError.busy` or `.forked`, and what `body` throws.
  public func exclusively<Result>(_ body: () throws -> Result) throws -> Result {
    guard getpid() == process else { throw TrainingError.forked }
    guard isBusy.compareExchange(expected: false, desired: true, ordering: .acquiringAndReleasing).exchanged else {
      throw TrainingError.busy
    }
    defer { isBusy.store(false, ordering: .releasing) }
    return try body()
  }

  /// Sets the learning rate of the updates to come.
  public func setLearningRate(_ value: Double) throws {
    try exclusively {
      try TrainerOptions.checkLearningRate(value)
      options.learningRate = value
    }
  }

  /// A micro-batch, as callers give it.
  public struct Batch {
    /// x₀, shape (count, channels, size, size).
    public var images: UnsafePointer<Float>
    /// Classes, shape (count,), or the null label; nil for a network without labels.
    public var labels: UnsafePointer<Int64>?
    /// The samples.
    public var count: Int
    /// Time steps instead of drawn ones, shape (count,); then no label is dropped.
    public var timesteps: UnsafePointer<Int64>?
    /// ε instead of drawn noise, shaped as the images.
    public var noise: UnsafePointer<Float>?
    /// Weights instead of the sampler's, shape (count,).
    public var weights: UnsafePointer<Float>?

    /// A batch of which nothing but images and labels is given.
    public init(images: UnsafePointer<Float>, labels: UnsafePointer<Int64>?, count: Int) {
      self.images = images
      self.labels = labels
      self.count = count
    }
  }

  /// Forward and backward: adds a micro-batch's part to the gradients.
  ///
  /// - Returns: the objective, the mean over the samples of weight·mse + variational term.
  /// - Throws: `ArgumentError` for what the batch does wrong, after which nothing has changed; `MemoryError`;
  ///   `TrainingError.notFinite`, after which the step begins anew with its first micro-batch.
  public func backward(_ batch: Batch) throws -> Double {
    try exclusively { try runBackward(batch) }
  }

  private func runBackward(_ given: Batch) throws -> Double {
    let layout = sampler.options.layout
    guard microBatches < layout.accumulation else {
      throw ArgumentError(
        "backward", "must be called once for each of the \(layout.accumulation) micro-batches before apply",
        got: "another call")
    }
    let slice = try check(given)
    let training = try trainingProgram(for: given.count)
    let batch = training.batch
    try draw(given, slice, training)
    (batch.images, batch.givenNoise) = (given.images, given.noise)
    (batch.step, batch.firstEntry) = (globalStep, slice.offset)
    batch.scale = 1 / (Double(given.count) * Double(layout.accumulation))
    training.samples.count = given.count
    lastCount = given.count
    training.run(pool)
    (batch.images, batch.givenNoise) = (nil, nil)
    accumulation.hasBegun = true
    microBatches += 1
    microBatchSize = given.count
    let objective = batch.objective(given.count)
    guard objective.isFinite else {
      dropGradients()
      let place = training.firstNonFiniteOperation() ?? "the loss"
      throw TrainingError.notFinite(
        "loss must be finite, got \(objective) at step \(globalStep); the first tensor that is not finite is the output of \(place). The step was not applied"
      )
    }
    return objective
  }

  /// Forgets the micro-batches of this step.
  private func dropGradients() {
    accumulation.hasBegun = false
    microBatches = 0
  }

  /// Checks a batch before anything changes.
  private func check(_ batch: Batch) throws -> BatchSlice {
    guard batch.count >= 1, batch.count <= 1 << 20 else {
      throw ArgumentError("n", "must be in [1, \(1 << 20)]", got: batch.count)
    }
    guard microBatches == 0 || batch.count == microBatchSize else {
      throw ArgumentError(
        "n", "must be \(microBatchSize), as in the other micro-batches of this step", got: batch.count)
    }
    let layout = sampler.options.layout
    let slice = try layout.slice(
      call: globalStep * UInt64(layout.accumulation) + UInt64(microBatches), count: batch.count)
    guard Noise.canFill(entries: slice.total, elements: loss.elements) else {
      throw ArgumentError("n", "must leave noise for each of the \(slice.total) entries of a step", got: batch.count)
    }
    let elements = batch.count * loss.elements
    try checkFinite(batch.images, elements, "x")
    if let noise = batch.noise { try checkFinite(noise, elements, "noise") }
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

  func checkLabels(_ labels: UnsafePointer<Int64>?, _ count: Int) throws {
    let entries = network.configuration.labelEntries
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

  /// Writes time steps, weights and labels.
  private func draw(_ given: Batch, _ slice: BatchSlice, _ training: TrainingProgram) throws {
    let batch = training.batch
    if let timesteps = given.timesteps {
      batch.timesteps.update(from: timesteps, count: given.count)
      let table = try sampler.weights(at: globalStep)
      for i in 0..<given.count { batch.weights[i] = Float(table[Int(timesteps[i])]) }
    } else {
      try sampler.draw(slice, timesteps: batch.timesteps, weights: batch.weights)
    }
    if let weights = given.weights { batch.weights.update(from: weights, count: given.count) }
    guard let labels = given.labels, let target = training.inputs.labels?.base else { return }
    let configuration = network.configuration
    let words = RandomStream(seed: options.seed, purpose: .labelDropout, step: globalStep)
    for i in 0..<given.count {
      let isDropped =
        given.timesteps == nil && Double(words.word(at: slice.offset + i)) * 0x1p-32 < configuration.classDropout
      target[i] = Int32(isDropped ? Int64(configuration.classes) : labels[i])
    }
  }

  /// Clips, updates parameters and their average, and ends the step.
  ///
  /// - Returns: the global norm of the gradient before clipping.
  /// - Throws: `ArgumentError` unless all micro-batches of the step are there; `TrainingError.notFinite` for the
  ///   gradient, after which nothing was applied and the step begins anew.
  public func apply() throws -> Double {
    try exclusively {
      let needed = sampler.options.layout.accumulation
      guard microBatches == needed else {
        throw ArgumentError("apply", "must follow \(needed) calls of backward", got: "\(microBatches)")
      }
      let norm = memory.gradientNorm(pool)
      guard norm.isFinite else {
        dropGradients()
        let name = memory.lastNonFiniteGradient(of: network.parameters) ?? "a sum"
        throw TrainingError.notFinite(
          "gradient must be finite, got norm \(norm) at step \(globalStep); on the way back the first that is not finite is that of \(name). The step was not applied"
        )
      }
      memory.update(options.coefficients(at: globalStep, norm: norm), pool)
      dropGradients()
      globalStep += 1
      return norm
    }
  }

  /// The time steps and the unweighted mean squared errors of the last backward, one per sample.
  ///
  /// - Throws: `ArgumentError` if there was none.
  public func withLastLosses<Result>(
    _ body: (_ timesteps: UnsafeBufferPointer<Int64>, _ losses: UnsafeBufferPointer<Float>) throws -> Result
  ) throws -> Result {
    try exclusively {
      guard let batch = training?.batch, lastCount > 0 else {
        throw ArgumentError("losses", "must be asked for after a backward", got: "none yet")
      }
      return try body(
        UnsafeBufferPointer(start: batch.timesteps, count: lastCount),
        UnsafeBufferPointer(start: batch.losses, count: lastCount))
    }
  }

  /// The network alone.
  ///
  /// - Parameters:
  ///   - images: shape (count, channels, size, size).
  ///   - timesteps: one per sample, finite; fractions are allowed.
  ///   - labels: classes or the null label; nil for a network without labels.
  ///   - usesAverage: the moving average of the parameters instead of themselves.
  ///   - out: room for (count, outputChannels, size, size).
  public func forward(
    images: UnsafePointer<Float>, timesteps: UnsafePointer<Float>, labels: UnsafePointer<Int64>?, count: Int,
    usesAverage: Bool, out: UnsafeMutablePointer<Float>
  ) throws {
    try exclusively {
      guard count >= 1, count <= 1 << 20 else { throw ArgumentError("n", "must be in [1, \(1 << 20)]", got: count) }
      try checkFinite(timesteps, count, "t")
      try checkLabels(labels, count)
      let program = try inferenceProgram(for: count, usesAverage: usesAverage)
      program.images.base.update(from: images, count: count * loss.elements)
      program.timesteps.update(from: timesteps, count: count)
      if let labels { for i in 0..<count { program.labels?.base[i] = Int32(labels[i]) } }
      program.run(pool)
      out.update(from: program.output.base, count: count * program.output.columns)
    }
  }

  private func trainingProgram(for count: Int) throws -> TrainingProgram {
    if let training, training.batch.capacity >= count { return training }
    training = nil
    let program = try TrainingProgram(
      network, capacity: count, loss: loss,
      parameters: ParameterMemory(
        parameters: memory.parameters.base, gradients: memory.gradients.base, accumulation: accumulation),
      positions: memory.positionMatrix, seed: options.seed, threads: pool.threads, reserve: reserve)
    training = program
    return program
  }

  /// The program of the network alone for a batch, with room for it at least.
  func inferenceProgram(for count: Int, usesAverage: Bool) throws -> InferenceProgram {
    if let inference, inference.usesAverage == usesAverage, inference.program.samples.maximum >= count {
      inference.program.samples.count = count
      return inference.program
    }
    inference = nil
    let program = try InferenceProgram(
      network, capacity: count,
      parameters: ParameterMemory(parameters: (usesAverage ? memory.average : memory.parameters).base),
      positions: memory.positionMatrix, threads: pool.threads, reserve: reserve)
    inference = (program, usesAverage)
    return program
  }

  /// Memory that all programs use, one at a time.
  private func reserve(_ count: Int) throws -> UnsafeMutablePointer<Float> {
    if let workspace, workspace.count >= count { return workspace.base }
    // What others have laid out there is gone with it.
    (training, inference, workspace, lastCount) = (nil, nil, nil, 0)
    try FloatMemory.check(count: count + memory.total, for: "parameters and activations for a batch")
    let floats = try FloatMemory(count: count, for: "activations")
    workspace = floats
    return floats.base
  }
}

/// - Throws: `ArgumentError` that names the first value that is not finite.
func checkFinite(_ values: UnsafePointer<Float>, _ count: Int, _ argument: String) throws {
  // x - x is 0 for finite x alone.
  var sum: Float = 0
  for i in 0..<count { sum += values[i] - values[i] }
  guard sum != 0 || sum.isNaN else { return }
  let i = (0..<count).first { !values[$0].isFinite } ?? 0
  throw ArgumentError("\(argument)[\(i)]", "must be finite", got: values[i])
}

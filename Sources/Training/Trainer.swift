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

/// Trains a network on the CPU: draw, noise, forward, backward, AdamW and the moving average of the parameters.
///
/// One thread at a time may use it; others get `TrainingError.busy`. Like the draw, noise, dropped labels, masks and initial
/// parameters are functions of (seed, step, place in the global batch). So the same seed gives the same run, bit for bit on
/// one machine with the same number of threads.
public final class Trainer: @unchecked Sendable {
  /// The network.
  public let network: any DiffusionNetwork
  /// Draws timesteps and weights; its prediction target is the network's.
  public let sampler: TimestepSampler
  /// Optimizer, seed and threads.
  public internal(set) var options: TrainerOptions
  /// The updates so far.
  public internal(set) var globalStep = 0

  /// The parameters' names as C strings, which live as long as the trainer.
  public let parameterNames: [UnsafePointer<CChar>]

  let memory: TrainerMemory
  let pool: ThreadPool
  let loss: DiffusionLoss
  /// The factor of each timestep's squared error in the network's objective; nil for none.
  let errorFactors: [Float]?
  /// What the network says of its labels and passes, read once: a step allocates no memory.
  let labels: ClassLabels?
  let passes: Int
  /// The tokens of a sample, if a pass hides some.
  let maskableTokens: Int?
  let accumulation = Accumulation()
  /// The micro-batches of this step so far, and the samples of each.
  var microBatches = 0
  var microBatchSize = 0
  /// What the sampler can learn from this step, or from the last one if none has begun since.
  var stepLosses = StepLosses()

  var training: TrainingProgram?
  var inference: (program: InferenceProgram, usesAverage: Bool)?
  private var workspace: FloatMemory?
  /// The samples of the last backward; nil if there was none, or if its losses were overwritten.
  var lastCount: Int?
  private let isBusy = Atomic<Bool>(false)
  private let process = getpid()

  /// Initializes a network's parameters.
  ///
  /// - Throws: `ArgumentError` if a value is out of range or does not fit another one; `MemoryError`.
  public convenience init(
    _ network: any DiffusionNetwork, sampler: TimestepSampler, options: TrainerOptions
  ) throws {
    try options.precision.check()
    try self.init(uninitialized: network, sampler: sampler, options: options)
    initialize(network.parameters, at: memory.parameters.base, seed: options.seed, pool: pool)
    memory.average.base.update(from: memory.parameters.base, count: network.parameters.count)
  }

  /// The same with all parameters 0, to be filled from a file.
  init(
    uninitialized network: any DiffusionNetwork, sampler: TimestepSampler, options: TrainerOptions
  ) throws {
    try options.check()
    guard network.conditioning.count <= 1, (1...2).contains(network.passes.count) else {
      throw ArgumentError(
        "network", "must have one or two passes and at most one conditioning input: this trainer knows no others",
        got: "\(network.passes.count) and \(network.conditioning.count)")
    }
    let prediction = sampler.options.prediction ?? .epsilon
    guard !network.image.learnsSigma || prediction != .epsilon || (sampler.schedule.alphasCumprod.last ?? 0) > 0 else {
      throw ArgumentError(
        "prediction", "must not be epsilon with learn_sigma if the last step has no signal (alphas_cumprod = 0)",
        got: "epsilon")
    }
    self.network = network
    self.sampler = sampler
    self.options = options
    loss = DiffusionLoss(
      schedule: sampler.schedule, prediction: prediction,
      elements: network.image.elements, learnsSigma: network.image.learnsSigma)
    errorFactors = try network.errorFactor?.weights(for: sampler.schedule, prediction: prediction).map(Float.init)
    (labels, passes) = (network.labels, network.passes.count)
    maskableTokens = network.passes.lazy.compactMap(\.hidden).first?.tokens
    memory = try TrainerMemory(network, threads: options.threads)
    pool = try ThreadPool(threads: options.threads)
    parameterNames = network.parameters.parameters.compactMap { strdup($0.name).map { UnsafePointer($0) } }
  }

  deinit {
    if getpid() != process { pool.abandon() }
    for name in parameterNames { free(UnsafeMutableRawPointer(mutating: name)) }
  }

  /// The memory of a trainer. `fixed` is that of the fixed tensors.
  public enum Buffer: Sendable {
    case parameters, gradients, firstMoment, secondMoment, average, fixed
  }

  /// The memory itself, valid as long as the trainer.
  public func buffer(_ buffer: Buffer) -> UnsafeMutableBufferPointer<Float> {
    let floats =
      switch buffer {
      case .parameters: memory.parameters
      case .gradients: memory.gradients
      case .firstMoment: memory.firstMoment
      case .secondMoment: memory.secondMoment
      case .average: memory.average
      case .fixed: memory.fixed
      }
    return UnsafeMutableBufferPointer(start: floats.base, count: floats.count)
  }

  /// The network's prediction target.
  public var prediction: PredictionTarget { sampler.options.prediction ?? .epsilon }

  /// Runs `body` with exclusive use of the trainer.
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

  /// Sets the learning rate of further updates.
  public func setLearningRate(_ value: Double) throws {
    try exclusively {
      var changed = options
      changed.learningRate = value
      try changed.check()
      options = changed
    }
  }

  /// Sets the decay of the moving average for the updates to come.
  public func setEMADecay(_ value: Double) throws {
    try exclusively {
      try TrainerOptions.checkEMADecay(value)
      options.emaDecay = value
    }
  }

  /// Sets the number of updates so far, which is the step of the next draw and of AdamW's bias correction.
  ///
  /// - Throws: `ArgumentError` unless it is in [0, `maximumSteps`], or between the micro-batches of a step.
  public func setGlobalStep(_ value: Int) throws {
    try exclusively {
      try Self.checkGlobalStep(value)
      guard microBatches == 0 else {
        throw ArgumentError(
          "global_step", "must be set between steps", got: "a call after \(microBatches) micro-batches of one")
      }
      globalStep = value
    }
  }

  /// The most updates of a run. With 2³¹ micro-batches per step, calls are counted in 63 bits.
  public static let maximumSteps = 1 << 32

  /// The step of the next draw.
  var step: UInt64 { UInt64(globalStep) }

  static func checkGlobalStep(_ value: Int) throws {
    guard value >= 0 else { throw ArgumentError("global_step", "must be at least 0", got: value) }
    guard value <= maximumSteps else {
      throw ArgumentError("global_step", "must be at most \(maximumSteps)", got: value)
    }
  }

  /// The network alone.
  ///
  /// - Parameters:
  ///   - images: shape (count, channels, size, size).
  ///   - timesteps: one per sample, finite; fractions are allowed.
  ///   - labels: classes or the null label; nil for a network without labels.
  ///   - usesAverage: use the moving average of the parameters.
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

  /// The program of a step, with room for at least this batch.
  func trainingProgram(for count: Int) throws -> TrainingProgram {
    if let training, training.batch.capacity >= count { return training }
    training = nil
    try options.precision.check()
    let program = try TrainingProgram(
      network, capacity: count, loss: loss,
      parameters: ParameterMemory(
        parameters: memory.parameters.base, gradients: memory.gradients.base, accumulation: accumulation),
      fixed: memory.fixedTensors, seed: options.seed, threads: pool.threads, precision: options.precision,
      reserve: reserve)
    training = program
    return program
  }

  /// The program of the network alone, with room for at least this batch.
  func inferenceProgram(for count: Int, usesAverage: Bool) throws -> InferenceProgram {
    if let inference, inference.usesAverage == usesAverage, inference.program.samples.maximum >= count {
      inference.program.samples.count = count
      return inference.program
    }
    inference = nil
    try options.precision.check()
    let program = try InferenceProgram(
      network, capacity: count,
      parameters: ParameterMemory(parameters: (usesAverage ? memory.average : memory.parameters).base),
      fixed: memory.fixedTensors, threads: pool.threads, precision: options.precision,
      reserve: reserve)
    inference = (program, usesAverage)
    return program
  }

  /// Memory that all programs share, one at a time.
  private func reserve(_ count: Int) throws -> UnsafeMutablePointer<Float> {
    if let workspace, workspace.count >= count { return workspace.base }
    // The programs laid out there become invalid with it.
    (training, inference, workspace, lastCount) = (nil, nil, nil, nil)
    try FloatMemory.check(count: count + memory.total, for: "parameters and activations for a batch")
    let floats = try FloatMemory(count: count, for: "activations")
    workspace = floats
    return floats.base
  }
}

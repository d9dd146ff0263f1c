import ArgumentErrors
import Networks
import NoiseSchedules
import Safetensors
import TimestepSampling

/// The file of a training run: everything that is needed to continue it bit for bit.
///
/// It is a safetensors file. Parameters and fixed tensors have the names of the official state dict. Their average and
/// AdamW's moments have the same names after "ema.", "exp_avg." and "exp_avg_sq.". The sampler's schedule and history are
/// tensors of doubles; everything else is metadata.
///
/// Everything is verified with the file's checksums as it is read. So a file that another program overwrites meanwhile is an
/// error, never a mixture of two.
public final class Checkpoint: Sendable {
  /// The network.
  public let network: any DiffusionNetwork
  /// Optimizer and seed, on one thread.
  public let options: TrainerOptions
  /// The updates so far.
  public let globalStep: Int
  /// The schedule of the sampler.
  public let schedule: NoiseSchedule
  /// The text that was given to `save`.
  public let note: String

  private let file: SafetensorsFile
  private let prediction: Int
  /// What the sampler learned.
  private let history: [Double]

  /// The version that is written. Version 1, of SpeeDiff 0.1.0, differs in how the network is described.
  static let version = 2
  static let precision = "trainer.precision"
  static let history = "speediff.sampler.history"
  /// A schedule comes back exactly from one of its two tables: the one that it was made from.
  static let (betas, alphasCumprod) = ("speediff.schedule.betas", "speediff.schedule.alphas_cumprod")

  /// Opens a file, and checks its checksums, its options, and that it has the tensors of its network.
  ///
  /// - Throws: `SafetensorsError` if it cannot be read, is damaged, or is not a checkpoint of this version.
  public init(path: String) throws {
    let file = try SafetensorsFile(path: path)
    let values = CheckpointMetadata(file.metadata, path: path)
    let version = try values.integer("speediff.version")
    guard (1...Self.version).contains(version) else {
      throw SafetensorsError.contents(
        path: path, rule: "must be a checkpoint of version 1 or \(Self.version)", got: "version \(version)")
    }
    self.file = file
    let table = [Self.betas, Self.alphasCumprod].first(where: file.contains)
    guard let table else {
      throw SafetensorsError.contents(path: path, rule: "must have the schedule of its sampler", got: "none")
    }
    let hasHistory = file.contains(Self.history)
    var numbers = [Double](repeating: 0, count: try file.countOfDoubles(table))
    var history = [Double](repeating: 0, count: hasHistory ? try file.countOfDoubles(Self.history) : 0)
    try numbers.withUnsafeMutableBytes { numbers in
      try history.withUnsafeMutableBytes { history in
        try file.readVerified([(table, numbers)] + (hasHistory ? [(Self.history, history)] : []))
      }
    }
    self.history = history
    let description = try NetworkMetadata(values, version: version)
    var options = TrainerOptions()
    options.learningRate = try values.real("trainer.learning_rate")
    (options.beta1, options.beta2) = (try values.real("trainer.beta1"), try values.real("trainer.beta2"))
    options.epsilon = try values.real("trainer.eps")
    options.weightDecay = try values.real("trainer.weight_decay")
    options.emaDecay = try values.real("trainer.ema_decay")
    options.emaWarmsUp = try values.flag("trainer.ema_warmup")
    options.maximumGradientNorm = try values.real("trainer.max_grad_norm")
    options.warmUpSteps = try values.integer("trainer.warmup_steps")
    options.seed = try values.natural("trainer.seed")
    // Files from before there were two have none.
    if values.has(Self.precision) { options.precision = try values.precision(Self.precision) }
    self.options = options
    globalStep = Int(clamping: try values.natural("trainer.global_step"))
    prediction = try values.integer("sampler.prediction")
    note = try values.text("note")
    (network, schedule) = try Self.describing(path) { [globalStep] in
      let network = try description.network()
      try Self.check(options, globalStep: globalStep)
      return try (network, table == Self.betas ? NoiseSchedule(betas: numbers) : NoiseSchedule(alphasCumprod: numbers))
    }
    try checkTensors()
  }

  /// The rules for a run, both when it is saved and when it is loaded. Those for its tensors are in `SavedTensor.check`.
  static func check(_ options: TrainerOptions, globalStep: Int) throws {
    try options.check()
    try Trainer.checkGlobalStep(globalStep)
  }

  /// Turns a broken rule into an error of the file that describes the run.
  private static func describing<Result>(_ path: String, _ body: () throws -> Result) throws -> Result {
    do {
      return try body()
    } catch let error as ArgumentError {
      let error = error.inC
      throw SafetensorsError.contents(
        path: path, rule: "must describe a valid run: \(error.argument) \(error.rule)", got: error.value)
    }
  }

  /// Checks that every tensor of the network is there, in its shape, before memory is allocated.
  private func checkTensors() throws {
    let tensors = SavedTensor.all(of: network)
    for wanted in tensors {
      let tensor = try file.tensor(wanted.name)
      guard tensor.dtype == .f32, tensor.shape == wanted.shape else {
        throw SafetensorsError.contents(
          path: file.path, rule: "must have a tensor \(wanted.name) of type F32 and shape \(wanted.shape)",
          got: "\(tensor.dtype.rawValue) of shape \(tensor.shape)")
      }
    }
    // The other tensors are the sampler's schedule and history.
    let count = tensors.count + (history.isEmpty ? 1 : 2)
    guard file.tensors.count == count else {
      throw SafetensorsError.contents(
        path: file.path, rule: "must have exactly the \(count) tensors of its network and sampler",
        got: "\(file.tensors.count)")
    }
  }

  /// Makes the trainer that was saved.
  ///
  /// - Parameters:
  ///   - sampler: one of the same method, schedule and target. The saved history is restored into it once everything else
  ///     has succeeded.
  ///   - threads: the threads of the new trainer.
  /// - Throws: `ArgumentError` if the sampler does not match; `SafetensorsError` if the file was damaged or overwritten
  ///   since it was opened; `MemoryError`.
  public func trainer(sampler: TimestepSampler, threads: Int) throws -> Trainer {
    guard sampler.schedule == schedule else {
      throw ArgumentError("sampler", "must have the schedule of the checkpoint", got: "another one")
    }
    guard Int(sampler.predictionTarget.rawValue) == prediction else {
      throw ArgumentError("sampler", "must have the prediction of the checkpoint", got: "\(sampler.predictionTarget)")
    }
    guard history.count == sampler.historyCount else {
      throw ArgumentError(
        "sampler", "must have a history of \(history.count) numbers, as the checkpoint's has",
        got: sampler.historyCount)
    }
    var options = options
    options.threads = threads
    let trainer = try Trainer(uninitialized: network, sampler: sampler, options: options)
    let tensors = SavedTensor.all(of: trainer.network)
    try file.readVerified(tensors.map { ($0.name, UnsafeMutableRawBufferPointer($0.floats(of: trainer))) })
    try Self.describing(file.path) { for tensor in tensors { try tensor.check(in: trainer) } }
    if !history.isEmpty { try sampler.restore(history: history) }
    trainer.globalStep = globalStep
    return trainer
  }
}

extension SafetensorsFile {
  /// The length of a table of a schedule or a sampler.
  fileprivate func countOfDoubles(_ name: String) throws -> Int {
    let tensor = try tensor(name)
    guard tensor.dtype == .f64, tensor.shape.count == 1 else {
      throw SafetensorsError.contents(
        path: path, rule: "must have a tensor \(name) of type F64 with one dimension",
        got: "\(tensor.dtype.rawValue) of shape \(tensor.shape)")
    }
    return tensor.shape[0]
  }
}

import ArgumentErrors
import Kernels
import Networks
import NoiseSchedules
import Safetensors
import TimestepSampling

/// The file of a training run: all that continues it bit by bit.
///
/// It is a safetensors file. Parameters and fixed positions have the names of the official state dict; "ema.", "exp_avg." and
/// "exp_avg_sq." stand before those of the average and of AdamW's moments. The sampler's schedule and what it learned are
/// tensors of doubles; everything else is metadata. Checksums tell damage.
public final class Checkpoint: Sendable {
  /// The shape of the network.
  public let configuration: NetworkConfiguration
  /// Optimizer and seed, on one thread.
  public let options: TrainerOptions
  /// The updates so far.
  public let globalStep: UInt64
  /// The schedule of the sampler.
  public let schedule: NoiseSchedule
  /// What the one who saved it had to say.
  public let note: String

  private let file: SafetensorsFile
  private let prediction: Int

  static let version = 1
  private static let prefixes = ["", "ema.", "exp_avg.", "exp_avg_sq."]
  private static let fixedPositions = "pos_embed"
  private static let history = "speediff.sampler.history"
  /// A schedule comes back exactly from one of its two tables: the one that it was made from.
  private static let tables = ["speediff.schedule.betas", "speediff.schedule.alphas_cumprod"]

  /// Opens a file, and checks it against its checksums and against the network it says to be of.
  ///
  /// - Throws: `SafetensorsError` if it cannot be read, is damaged, or is no checkpoint of this version.
  public init(path: String) throws {
    let file = try SafetensorsFile(path: path)
    let values = CheckpointMetadata(file.metadata, path: path)
    let version = try values.integer("speediff.version")
    guard version == Self.version else {
      throw SafetensorsError.contents(
        path: path, rule: "must be a checkpoint of version \(Self.version)", got: "version \(version)")
    }
    try file.verify()
    self.file = file
    configuration = NetworkConfiguration(
      inputSize: try values.integer("dit.input_size"), patchSize: try values.integer("dit.patch_size"),
      channels: try values.integer("dit.in_channels"), hiddenSize: try values.integer("dit.hidden_size"),
      depth: try values.integer("dit.depth"), heads: try values.integer("dit.num_heads"),
      mlpRatio: try values.real("dit.mlp_ratio"), classes: try values.integer("dit.num_classes"),
      classDropout: try values.real("dit.class_dropout_prob"), learnsSigma: try values.flag("dit.learn_sigma"),
      frequencyShift: values.has("dit.frequency_shift") ? try values.real("dit.frequency_shift") : 0,
      masking: try Self.masking(values))
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
    self.options = options
    globalStep = try values.natural("trainer.global_step")
    prediction = try values.integer("sampler.prediction")
    note = try values.text("note")
    do {
      try configuration.check()
      try options.check()
      try Trainer.checkGlobalStep(globalStep)
      let table = Self.tables.firstIndex { file.names.contains($0) }
      guard let table else { throw ArgumentError("schedule", "must be in the file", got: "none") }
      let numbers = try file.doubles(Self.tables[table])
      schedule = try table == 0 ? NoiseSchedule(betas: numbers) : NoiseSchedule(alphasCumprod: numbers)
    } catch let error as ArgumentError {
      throw SafetensorsError.contents(path: path, rule: "must be of a run that can be", got: error.description)
    }
    try checkTensors()
  }

  /// What makes an MDT of the network; nil for a DiT.
  private static func masking(_ values: CheckpointMetadata) throws -> MaskingConfiguration? {
    guard values.has("mdt.version") else { return nil }
    guard let version = MaskingConfiguration.Version(rawValue: try values.integer("mdt.version")) else {
      throw SafetensorsError.contents(
        path: values.path, rule: "must have 1 or 2 as mdt.version", got: try values.text("mdt.version"))
    }
    return MaskingConfiguration(
      version: version, decoderDepth: try values.integer("mdt.decode_layer"),
      maskRatio: try values.real("mdt.mask_ratio"),
      minSNRGamma: values.has("mdt.min_snr_gamma") ? try values.real("mdt.min_snr_gamma") : nil)
  }

  /// Every tensor of the network must be there, in its shape, before memory is asked for.
  private func checkTensors() throws {
    let network = try configuration.network()
    for parameter in network.parameters.parameters {
      for prefix in Self.prefixes { try check(prefix + parameter.name, parameter.shape) }
    }
    if let shape = network.fixedPositionShape { try check(Self.fixedPositions, shape) }
    // The schedule, what the sampler learned, and positions that are not trained.
    let others = 1 + (file.names.contains(Self.history) ? 1 : 0) + (network.fixedPositionShape == nil ? 0 : 1)
    let wanted = Self.prefixes.count * network.parameters.parameters.count + others
    guard file.tensors.count == wanted else {
      throw SafetensorsError.contents(
        path: file.path, rule: "must have the \(wanted) tensors of its network alone", got: "\(file.tensors.count)")
    }
  }

  private func check(_ name: String, _ shape: [Int]) throws {
    let tensor = try file.tensor(name)
    guard tensor.dtype == .f32, tensor.shape == shape else {
      throw SafetensorsError.contents(
        path: file.path, rule: "must have \(name) as F32 of shape \(shape)",
        got: "\(tensor.dtype.rawValue) of shape \(tensor.shape)")
    }
  }

  /// Makes the trainer that was saved.
  ///
  /// - Parameters:
  ///   - sampler: one of the same method, schedule and target; what it learned is put back into it.
  ///   - threads: of the new trainer.
  /// - Throws: `ArgumentError` if the sampler is another one; `SafetensorsError`, `MemoryError`.
  public func trainer(sampler: TimestepSampler, threads: Int) throws -> Trainer {
    guard sampler.schedule == schedule else {
      throw ArgumentError("sampler", "must have the schedule of the checkpoint", got: "another one")
    }
    guard Int(sampler.predictionTarget.rawValue) == prediction else {
      throw ArgumentError("sampler", "must have the prediction of the checkpoint", got: "\(sampler.predictionTarget)")
    }
    let history = try file.names.contains(Self.history) ? file.doubles(Self.history) : []
    guard history.count == sampler.historyCount else {
      throw ArgumentError(
        "sampler", "must learn \(history.count) numbers as that of the checkpoint did", got: sampler.historyCount)
    }
    var options = options
    options.threads = threads
    let trainer = try Trainer(uninitialized: configuration, sampler: sampler, options: options)
    for (prefix, memory) in zip(Self.prefixes, trainer.memory.saved) {
      for parameter in trainer.network.parameters.parameters {
        let floats = UnsafeMutableBufferPointer(start: memory.base + parameter.offset, count: parameter.count)
        try file.read(prefix + parameter.name, into: UnsafeMutableRawBufferPointer(floats))
        guard sumOfSquares(memory.base, range: parameter.offset..<parameter.offset + parameter.count).isFinite else {
          throw SafetensorsError.contents(
            path: file.path, rule: "must have finite numbers in \(prefix + parameter.name)", got: "others")
        }
      }
    }
    if !history.isEmpty { try sampler.restore(history: history) }
    trainer.globalStep = globalStep
    return trainer
  }

  /// Writes a trainer's file, or replaces it as a whole.
  ///
  /// - Throws: `ArgumentError` between the micro-batches of a step; `SafetensorsError`, after which a file that was there
  ///   still is.
  static func write(_ trainer: Trainer, to path: String, note: String) throws {
    guard trainer.microBatches == 0 else {
      throw ArgumentError(
        "save", "must be called between steps", got: "a call after \(trainer.microBatches) micro-batches of one")
    }
    let (shape, options, sampler) = (trainer.network.configuration, trainer.options, trainer.sampler)
    var metadata: [String: String] = [
      "format": "pt", "speediff.version": "\(version)", "note": note,
      "dit.input_size": "\(shape.inputSize)", "dit.patch_size": "\(shape.patchSize)",
      "dit.in_channels": "\(shape.channels)", "dit.hidden_size": "\(shape.hiddenSize)",
      "dit.depth": "\(shape.depth)", "dit.num_heads": "\(shape.heads)", "dit.mlp_ratio": "\(shape.mlpRatio)",
      "dit.num_classes": "\(shape.classes)", "dit.class_dropout_prob": "\(shape.classDropout)",
      "dit.learn_sigma": "\(shape.learnsSigma)", "dit.frequency_shift": "\(shape.frequencyShift)",
      "trainer.learning_rate": "\(options.learningRate)",
      "trainer.beta1": "\(options.beta1)", "trainer.beta2": "\(options.beta2)", "trainer.eps": "\(options.epsilon)",
      "trainer.weight_decay": "\(options.weightDecay)", "trainer.ema_decay": "\(options.emaDecay)",
      "trainer.ema_warmup": "\(options.emaWarmsUp)", "trainer.max_grad_norm": "\(options.maximumGradientNorm)",
      "trainer.warmup_steps": "\(options.warmUpSteps)", "trainer.seed": "\(options.seed)",
      "trainer.global_step": "\(trainer.globalStep)", "sampler.prediction": "\(sampler.predictionTarget.rawValue)",
    ]
    if let masking = shape.masking {
      metadata["mdt.version"] = "\(masking.version.rawValue)"
      metadata["mdt.decode_layer"] = "\(masking.decoderDepth)"
      metadata["mdt.mask_ratio"] = "\(masking.maskRatio)"
      metadata["mdt.min_snr_gamma"] = masking.minSNRGamma.map { "\($0)" }
    }
    var tensors: [TensorSource] = []
    for (prefix, memory) in zip(prefixes, trainer.memory.saved) {
      for parameter in trainer.network.parameters.parameters {
        let floats = UnsafeBufferPointer(start: memory.base + parameter.offset, count: parameter.count)
        tensors.append(
          TensorSource(name: prefix + parameter.name, dtype: .f32, shape: parameter.shape, bytes: .init(floats)))
      }
    }
    if let shape = trainer.network.fixedPositionShape {
      let positions = trainer.memory.fixedPositions
      tensors.append(
        TensorSource(
          name: fixedPositions, dtype: .f32, shape: shape,
          bytes: .init(UnsafeBufferPointer(start: positions.base, count: positions.count))))
    }
    let schedule = sampler.schedule
    let isFromBetas = (try? NoiseSchedule(betas: schedule.betas)) == schedule
    let (table, history) = (isFromBetas ? schedule.betas : schedule.alphasCumprod, sampler.history)
    try table.withUnsafeBytes { table in
      try history.withUnsafeBytes { history in
        tensors.append(
          TensorSource(name: tables[isFromBetas ? 0 : 1], dtype: .f64, shape: [table.count / 8], bytes: table))
        if !history.isEmpty {
          tensors.append(TensorSource(name: Self.history, dtype: .f64, shape: [history.count / 8], bytes: history))
        }
        try Safetensors.write(to: path, metadata: metadata, tensors: tensors)
      }
    }
  }
}

extension Trainer {
  /// Writes all that `Checkpoint` continues from; on an error a file that was there is still whole.
  ///
  /// - Parameter note: any text, which the checkpoint gives back.
  public func save(to path: String, note: String = "") throws {
    try exclusively { try Checkpoint.write(self, to: path, note: note) }
  }
}

extension TimestepSampler {
  /// The target, epsilon where none was told.
  fileprivate var predictionTarget: PredictionTarget { options.prediction ?? .epsilon }
}

extension SafetensorsFile {
  /// A table of doubles that a schedule or a sampler may have.
  fileprivate func doubles(_ name: String) throws -> [Double] {
    let tensor = try tensor(name)
    guard tensor.dtype == .f64, tensor.shape.count == 1 else {
      throw SafetensorsError.contents(
        path: path, rule: "must have \(name) as F64 of one dimension",
        got: "\(tensor.dtype.rawValue) of shape \(tensor.shape)")
    }
    var numbers = [Double](repeating: 0, count: tensor.shape[0])
    try numbers.withUnsafeMutableBytes { try read(name, into: $0) }
    return numbers
  }
}

import ArgumentErrors
import CSpeeDiff
import Kernels
import Networks
import TimestepSampling
import Training

typealias TrainerHandle = Handle<Trainer>

/// Sets the shape of an official network.
@_cdecl("speediff_network_config_set_name") @implementation
public func speediff_network_config_set_name(
  _ config: UnsafeMutablePointer<speediff_network_config>!, _ name: UnsafePointer<CChar>!
) -> speediff_status {
  reportingStatus {
    let config = try unwrap(config, "config")
    var shape = NetworkConfiguration()
    try shape.become(String(cString: unwrap(name, "name")))
    config.pointee.patch_size = Int64(shape.patchSize)
    config.pointee.hidden_size = Int64(shape.hiddenSize)
    config.pointee.depth = Int64(shape.depth)
    config.pointee.num_heads = Int64(shape.heads)
    config.pointee.setMasking(shape.masking)
  }
}

/// Builds and initializes a network.
@_cdecl("speediff_trainer_create") @implementation
public func speediff_trainer_create(
  _ config: UnsafePointer<speediff_network_config>!, _ options: UnsafePointer<speediff_trainer_options>!,
  _ sampler: OpaquePointer!, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try TrainerHandle.create(out) {
      try Trainer(
        NetworkConfiguration(unwrap(config, "config").pointee), sampler: SamplerHandle.value(sampler, "sampler"),
        options: TrainerOptions(unwrap(options, "options").pointee))
    }
  }
}

/// Frees a trainer.
@_cdecl("speediff_trainer_destroy") @implementation
public func speediff_trainer_destroy(_ trainer: OpaquePointer!) {
  TrainerHandle.destroy(trainer)
}

/// Writes the network's shape.
@_cdecl("speediff_trainer_config") @implementation
public func speediff_trainer_config(
  _ trainer: OpaquePointer!, _ out: UnsafeMutablePointer<speediff_network_config>!
) -> speediff_status {
  reportingStatus {
    let shape = try TrainerHandle.value(trainer, "trainer").network.configuration
    var config = speediff_network_config(
      input_size: Int64(shape.inputSize), patch_size: Int64(shape.patchSize), in_channels: Int64(shape.channels),
      hidden_size: Int64(shape.hiddenSize), depth: Int64(shape.depth), num_heads: Int64(shape.heads),
      mlp_ratio: shape.mlpRatio, num_classes: Int64(shape.classes), class_dropout_prob: shape.classDropout,
      learn_sigma: shape.learnsSigma ? 1 : 0, frequency_shift: shape.frequencyShift, mdt_version: 0, decode_layer: 0,
      mask_ratio: 0, min_snr_gamma: 0)
    config.setMasking(shape.masking)
    try unwrap(out, "out").pointee = config
  }
}

/// Writes the options.
@_cdecl("speediff_trainer_get_options") @implementation
public func speediff_trainer_get_options(
  _ trainer: OpaquePointer!, _ out: UnsafeMutablePointer<speediff_trainer_options>!
) -> speediff_status {
  reportingStatus {
    let trainer = try TrainerHandle.value(trainer, "trainer")
    let options = try trainer.exclusively { trainer.options }
    try unwrap(out, "out").pointee = speediff_trainer_options(
      learning_rate: options.learningRate, beta1: options.beta1, beta2: options.beta2, epsilon: options.epsilon,
      weight_decay: options.weightDecay, ema_decay: options.emaDecay, ema_warmup: options.emaWarmsUp ? 1 : 0,
      max_grad_norm: options.maximumGradientNorm.isFinite ? options.maximumGradientNorm : 0,
      warmup_steps: Int64(options.warmUpSteps), seed: options.seed, threads: Int32(options.threads))
  }
}

/// Sets the learning rate.
@_cdecl("speediff_trainer_set_learning_rate") @implementation
public func speediff_trainer_set_learning_rate(_ trainer: OpaquePointer!, _ learning_rate: Double) -> speediff_status {
  reportingStatus { try TrainerHandle.value(trainer, "trainer").setLearningRate(learning_rate) }
}

/// Sets the decay of the moving average.
@_cdecl("speediff_trainer_set_ema_decay") @implementation
public func speediff_trainer_set_ema_decay(_ trainer: OpaquePointer!, _ ema_decay: Double) -> speediff_status {
  reportingStatus { try TrainerHandle.value(trainer, "trainer").setEMADecay(ema_decay) }
}

/// Writes the number of updates.
@_cdecl("speediff_trainer_global_step") @implementation
public func speediff_trainer_global_step(
  _ trainer: OpaquePointer!, _ out: UnsafeMutablePointer<Int64>!
) -> speediff_status {
  reportingStatus {
    let trainer = try TrainerHandle.value(trainer, "trainer")
    try unwrap(out, "out").pointee = Int64(trainer.exclusively { trainer.globalStep })
  }
}

/// Sets the number of updates.
@_cdecl("speediff_trainer_set_global_step") @implementation
public func speediff_trainer_set_global_step(_ trainer: OpaquePointer!, _ step: Int64) -> speediff_status {
  reportingStatus {
    let trainer = try TrainerHandle.value(trainer, "trainer")
    guard let step = UInt64(exactly: step) else {
      throw ArgumentError("global_step", "must be at least 0", got: step)
    }
    try trainer.setGlobalStep(step)
  }
}

extension speediff_network_config {
  /// Writes what makes an MDT of a network, or zeros for a DiT.
  fileprivate mutating func setMasking(_ masking: MaskingConfiguration?) {
    mdt_version = Int32(masking?.version.rawValue ?? 0)
    decode_layer = Int64(masking?.decoderDepth ?? 0)
    mask_ratio = masking?.maskRatio ?? 0
    min_snr_gamma = masking?.minSNRGamma ?? 0
  }
}

extension MaskingConfiguration {
  /// What C gives; nil for a DiT.
  fileprivate init?(_ config: speediff_network_config) throws {
    guard config.mdt_version != 0 else { return nil }
    guard let version = Version(rawValue: Int(config.mdt_version)) else {
      throw ArgumentError("mdt_version", "must be 0, 1 or 2", got: config.mdt_version)
    }
    self.init(
      version: version, decoderDepth: Int(config.decode_layer), maskRatio: config.mask_ratio,
      minSNRGamma: config.min_snr_gamma == 0 ? nil : config.min_snr_gamma)
  }
}

extension NetworkConfiguration {
  /// What C gives; the network checks it.
  init(_ config: speediff_network_config) throws {
    func integer(_ value: Int64, _ name: String) throws -> Int {
      guard let value = Int(exactly: value) else { throw ArgumentError(name, "must fit into a word", got: value) }
      return value
    }
    self.init(
      inputSize: try integer(config.input_size, "input_size"),
      patchSize: try integer(config.patch_size, "patch_size"),
      channels: try integer(config.in_channels, "in_channels"),
      hiddenSize: try integer(config.hidden_size, "hidden_size"), depth: try integer(config.depth, "depth"),
      heads: try integer(config.num_heads, "num_heads"), mlpRatio: config.mlp_ratio,
      classes: try integer(config.num_classes, "num_classes"), classDropout: config.class_dropout_prob,
      learnsSigma: try flag(config.learn_sigma, "learn_sigma"), frequencyShift: config.frequency_shift,
      masking: try MaskingConfiguration(config))
  }
}

extension TrainerOptions {
  /// What C gives; the trainer checks it.
  init(_ options: speediff_trainer_options) throws {
    self.init()
    learningRate = options.learning_rate
    (beta1, beta2, epsilon) = (options.beta1, options.beta2, options.epsilon)
    (weightDecay, emaDecay) = (options.weight_decay, options.ema_decay)
    emaWarmsUp = try flag(options.ema_warmup, "ema_warmup")
    maximumGradientNorm = options.max_grad_norm == 0 ? .infinity : options.max_grad_norm
    warmUpSteps = Int(options.warmup_steps)
    seed = options.seed
    threads = try threadCount(options.threads)
  }
}

/// A truth value, as C has it.
func flag(_ value: Int32, _ argument: String) throws -> Bool {
  guard value == 0 || value == 1 else { throw ArgumentError(argument, "must be 0 or 1", got: value) }
  return value == 1
}

/// A number of threads, of which 0 stands for as many as make sense in this process.
func threadCount(_ threads: Int32) throws -> Int { threads == 0 ? try ThreadLimits().threads : Int(threads) }

/// Writes what limits the threads of this process.
@_cdecl("speediff_thread_limits") @implementation
public func speediff_thread_limits(
  _ processors: UnsafeMutablePointer<Int64>!, _ quota: UnsafeMutablePointer<Int64>!,
  _ requested: UnsafeMutablePointer<Int64>!
) -> speediff_status {
  reportingStatus {
    let outputs = try (unwrap(processors, "processors"), unwrap(quota, "quota"), unwrap(requested, "requested"))
    let limits = try ThreadLimits()
    (outputs.0.pointee, outputs.1.pointee) = (Int64(limits.processors), Int64(limits.quota ?? 0))
    outputs.2.pointee = Int64(limits.requested ?? 0)
  }
}

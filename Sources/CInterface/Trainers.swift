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
    config.pointee.set(try NetworkFamilies.official(String(cString: unwrap(name, "name"))).description) {
      ["patch_size", "hidden_size", "depth", "num_heads", "version", "decode_layer", "mask_ratio", "min_snr_gamma"]
        .contains($0)
    }
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
        unwrap(config, "config").pointee.network(), sampler: SamplerHandle.value(sampler, "sampler"),
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
    var config = speediff_network_config()
    config.set(try TrainerHandle.value(trainer, "trainer").network.description) { _ in true }
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
  /// Takes those values of a network that are chosen by their names.
  fileprivate mutating func set(_ network: NetworkDescription, _ isChosen: (_ name: String) -> Bool) {
    (mdt_version, decode_layer, mask_ratio, min_snr_gamma) = (0, 0, 0, 0)
    for (name, value) in network.values where isChosen(name) {
      switch name {
      case "input_size": input_size = Int64(value)
      case "patch_size": patch_size = Int64(value)
      case "in_channels": in_channels = Int64(value)
      case "hidden_size": hidden_size = Int64(value)
      case "depth": depth = Int64(value)
      case "num_heads": num_heads = Int64(value)
      case "mlp_ratio": mlp_ratio = value
      case "num_classes": num_classes = Int64(value)
      case "class_dropout_prob": class_dropout_prob = value
      case "learn_sigma": learn_sigma = Int32(value)
      case "frequency_shift": frequency_shift = value
      case "version": mdt_version = Int32(value)
      case "decode_layer": decode_layer = Int64(value)
      case "mask_ratio": mask_ratio = value
      case "min_snr_gamma": min_snr_gamma = value
      default: break
      }
    }
  }

  /// The network that C describes.
  fileprivate func network() throws -> any DiffusionNetwork {
    guard (0...2).contains(mdt_version) else {
      throw ArgumentError("mdt_version", "must be 0, 1 or 2", got: mdt_version)
    }
    let shape: [(name: String, value: Double)] = [
      ("input_size", Double(input_size)), ("patch_size", Double(patch_size)), ("in_channels", Double(in_channels)),
      ("hidden_size", Double(hidden_size)), ("depth", Double(depth)), ("num_heads", Double(num_heads)),
      ("mlp_ratio", mlp_ratio), ("num_classes", Double(num_classes)), ("class_dropout_prob", class_dropout_prob),
      ("learn_sigma", Double(learn_sigma)), ("frequency_shift", frequency_shift),
    ]
    guard mdt_version > 0 else { return try NetworkFamilies.named("dit").make(shape) }
    return try NetworkFamilies.named("mdt").make(
      shape + [
        ("version", Double(mdt_version)), ("decode_layer", Double(decode_layer)), ("mask_ratio", mask_ratio),
        ("min_snr_gamma", min_snr_gamma),
      ])
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

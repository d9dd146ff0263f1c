import ArgumentErrors
import CSpeeDiff
import Kernels
import Networks
import TimestepSampling
import Training

typealias TrainerHandle = Handle<Trainer>

/// Makes a trainer of a network.
@_cdecl("speediff_trainer_create") @implementation
public func speediff_trainer_create(
  _ network: OpaquePointer!, _ options: UnsafePointer<speediff_trainer_options>!, _ sampler: OpaquePointer!,
  _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try TrainerHandle.create(out) {
      try Trainer(
        NetworkHandle.value(network, "network"), sampler: SamplerHandle.value(sampler, "sampler"),
        options: TrainerOptions(grown(options, "options", standard: speediff_trainer_options())))
    }
  }
}

/// Frees a trainer.
@_cdecl("speediff_trainer_destroy") @implementation
public func speediff_trainer_destroy(_ trainer: OpaquePointer!) {
  TrainerHandle.destroy(trainer)
}

/// Writes the options.
@_cdecl("speediff_trainer_get_options") @implementation
public func speediff_trainer_get_options(
  _ trainer: OpaquePointer!, _ out: UnsafeMutablePointer<speediff_trainer_options>!, _ size: Int
) -> speediff_status {
  reportingStatus {
    let trainer = try TrainerHandle.value(trainer, "trainer")
    let options = try trainer.exclusively { trainer.options }
    let out = try unwrap(out, "out")
    let value = speediff_trainer_options(
      size: 0, learning_rate: options.learningRate, beta1: options.beta1, beta2: options.beta2,
      epsilon: options.epsilon, weight_decay: options.weightDecay, ema_decay: options.emaDecay,
      ema_warmup: options.emaWarmsUp ? 1 : 0,
      max_grad_norm: options.maximumGradientNorm.isFinite ? options.maximumGradientNorm : 0,
      warmup_steps: Int64(options.warmUpSteps), seed: options.seed, threads: Int32(options.threads),
      precision: options.precision.code)
    try writeGrown(value, to: out, size: size)
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

/// Sets the precision.
@_cdecl("speediff_trainer_set_precision") @implementation
public func speediff_trainer_set_precision(_ trainer: OpaquePointer!, _ precision: Int64) -> speediff_status {
  reportingStatus { try TrainerHandle.value(trainer, "trainer").setPrecision(matrixPrecision(precision)) }
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
    try TrainerHandle.value(trainer, "trainer").setGlobalStep(Int(step))
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
    precision = try matrixPrecision(options.precision)
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

/// Writes the memory that this process may use.
@_cdecl("speediff_memory_limit") @implementation
public func speediff_memory_limit(_ bytes: UnsafeMutablePointer<Int64>!) -> speediff_status {
  reportingStatus { try unwrap(bytes, "bytes").pointee = Int64(MemoryLimit.current.bytes) }
}

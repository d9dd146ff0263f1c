import ArgumentErrors
import CSpeeDiff
import Training

/// Generates images.
@_cdecl("speediff_trainer_generate") @implementation
public func speediff_trainer_generate(
  _ trainer: OpaquePointer!, _ y: UnsafePointer<Int64>!, _ seeds: UnsafePointer<UInt64>!, _ n: Int64,
  _ options: UnsafePointer<speediff_generation_options>!, _ progress: speediff_progress!,
  _ context: UnsafeMutableRawPointer!, _ out: UnsafeMutablePointer<Float>!
) -> speediff_status {
  reportingStatus {
    let trainer = try TrainerHandle.value(trainer, "trainer")
    let options = try GenerationOptions(unwrap(options, "options").pointee)
    guard n >= 0, n <= 1 << 20 else { throw ArgumentError("n", "must be in [0, \(1 << 20)]", got: n) }
    guard n > 0 else { return }
    let seeds = try UnsafeBufferPointer(start: unwrap(seeds, "seeds"), count: Int(n))
    try trainer.generate(labels: y, seeds: seeds, options: options, out: unwrap(out, "out")) { done, total in
      progress.map { $0(context, Int64(done), Int64(total)) != 0 } ?? true
    }
  }
}

extension GenerationOptions {
  /// Reads the options that C gives; the trainer checks the values.
  init(_ options: speediff_generation_options) throws {
    guard let method = Method(rawValue: options.method) else {
      throw ArgumentError("method", "must be a value of speediff_generation_method", got: options.method)
    }
    self.init(
      method: method, steps: Int(options.steps), eta: options.eta, guidance: options.cfg_scale,
      clips: try flag(options.clip, "clip"), usesAverage: try flag(options.ema, "ema"))
  }
}

import ArgumentErrors
import CSpeeDiff
import Training

/// Forward and backward of a micro-batch.
@_cdecl("speediff_trainer_backward") @implementation
public func speediff_trainer_backward(
  _ trainer: OpaquePointer!, _ batch: UnsafePointer<speediff_training_batch>!, _ loss: UnsafeMutablePointer<Double>!
) -> speediff_status {
  reportingStatus {
    let trainer = try TrainerHandle.value(trainer, "trainer")
    let given = try grown(batch, "batch", standard: speediff_training_batch())
    let loss = try unwrap(loss, "loss")
    loss.pointee = try trainer.backward(Trainer.UnsafeBatch(given))
  }
}

extension Trainer.UnsafeBatch {
  /// What C gives; the trainer checks it.
  init(_ batch: speediff_training_batch) throws {
    self.init(images: try unwrap(batch.x, "x"), labels: batch.y, count: Int(batch.n))
    (timesteps, noise, weights) = (batch.t, batch.noise, batch.weights)
    (secondNoise, kept, keptCount) = (batch.masked_noise, batch.kept, Int(batch.kept_count))
    if batch.total != 0 || batch.offset != 0 {
      place = Trainer.Place(offset: Int(batch.offset), total: Int(batch.total))
    }
  }
}

/// Gives up a step.
@_cdecl("speediff_trainer_discard") @implementation
public func speediff_trainer_discard(_ trainer: OpaquePointer!) -> speediff_status {
  reportingStatus { try TrainerHandle.value(trainer, "trainer").discard() }
}

/// Updates the parameters.
@_cdecl("speediff_trainer_apply") @implementation
public func speediff_trainer_apply(
  _ trainer: OpaquePointer!, _ norm: UnsafeMutablePointer<Double>!
) -> speediff_status {
  reportingStatus {
    let value = try TrainerHandle.value(trainer, "trainer").apply()
    if let norm { norm.pointee = value }
  }
}

/// Has the sampler learn from the step.
@_cdecl("speediff_trainer_learn") @implementation
public func speediff_trainer_learn(_ trainer: OpaquePointer!) -> speediff_status {
  reportingStatus { try TrainerHandle.value(trainer, "trainer").learn() }
}

/// Writes the samples of the last backward.
@_cdecl("speediff_trainer_last_count") @implementation
public func speediff_trainer_last_count(
  _ trainer: OpaquePointer!, _ out: UnsafeMutablePointer<Int64>!
) -> speediff_status {
  reportingStatus {
    let (trainer, out) = try (TrainerHandle.value(trainer, "trainer"), unwrap(out, "out"))
    out.pointee = Int64(try trainer.withLastLosses { timesteps, _ in timesteps.count })
  }
}

/// Copies what a learning sampler wants to know.
@_cdecl("speediff_trainer_last_losses") @implementation
public func speediff_trainer_last_losses(
  _ trainer: OpaquePointer!, _ t: UnsafeMutablePointer<Int64>!, _ losses: UnsafeMutablePointer<Float>!,
  _ count: Int64
) -> speediff_status {
  reportingStatus {
    try TrainerHandle.value(trainer, "trainer").withLastLosses { timesteps, values in
      guard count == timesteps.count else {
        throw WrongCountError(argument: "count", expected: timesteps.count, count: count)
      }
      guard let first = timesteps.baseAddress, let value = values.baseAddress, count > 0 else { return }
      let (t, losses) = try (unwrap(t, "t"), unwrap(losses, "losses"))
      t.update(from: first, count: timesteps.count)
      losses.update(from: value, count: values.count)
    }
  }
}

/// Runs the network alone.
@_cdecl("speediff_trainer_forward") @implementation
public func speediff_trainer_forward(
  _ trainer: OpaquePointer!, _ x_t: UnsafePointer<Float>!, _ t: UnsafePointer<Float>!, _ y: UnsafePointer<Int64>!,
  _ n: Int64, _ ema: Int32, _ out: UnsafeMutablePointer<Float>!
) -> speediff_status {
  reportingStatus {
    try TrainerHandle.value(trainer, "trainer").forward(
      images: unwrap(x_t, "x_t"), timesteps: unwrap(t, "t"), labels: y, count: Int(n), usesAverage: flag(ema, "ema"),
      out: unwrap(out, "out"))
  }
}

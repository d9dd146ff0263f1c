import ArgumentErrors
import Networks
import NoiseSchedules
import Safetensors
import TimestepSampling

extension Trainer {
  /// Writes all that `Checkpoint` continues from, or replaces a file as a whole.
  ///
  /// What `Checkpoint` would refuse is refused here, before anything is written. After an error an existing file is
  /// unchanged, and the trainer can be used as before.
  ///
  /// - Parameter note: any text; `Checkpoint.note` returns it.
  /// - Throws: `ArgumentError` between the micro-batches of a step; `TrainingError.notFinite`, which names a number
  ///   that is not finite; `SafetensorsError` if the file cannot be written.
  public func save(to path: String, note: String = "") throws {
    try exclusively {
      let history = sampler.history
      try checkForSaving(history)
      try Checkpoint.write(self, history: history, to: path, note: note)
    }
  }

  private func checkForSaving(_ history: [Double]) throws {
    guard microBatches == 0 else {
      throw ArgumentError(
        "save", "must be called between steps", got: "a call after \(microBatches) micro-batches of one")
    }
    try Checkpoint.check(options, globalStep: globalStep)
    if !history.isEmpty { try sampler.check(history: history) }
    do {
      for tensor in SavedTensor.all(of: network) { try tensor.check(in: self) }
    } catch let error as ArgumentError {
      throw TrainingError.notFinite(
        "\(error.inC); no file was written. Continue from the last checkpoint with a lower learning_rate or with max_grad_norm"
      )
    }
  }
}

extension Checkpoint {
  /// Writes the file of a trainer that has been checked.
  fileprivate static func write(
    _ trainer: Trainer, history: [Double], to path: String, note: String
  ) throws {
    var tensors = SavedTensor.all(of: trainer.network).map {
      TensorSource(
        name: $0.name, dtype: .f32, shape: $0.shape, bytes: UnsafeRawBufferPointer($0.floats(of: trainer)))
    }
    let schedule = trainer.sampler.schedule
    let isFromBetas = (try? NoiseSchedule(betas: schedule.betas)) == schedule
    try (isFromBetas ? schedule.betas : schedule.alphasCumprod).withUnsafeBytes { table in
      try history.withUnsafeBytes { history in
        let shape = [table.count / MemoryLayout<Double>.stride]
        tensors.append(
          TensorSource(name: isFromBetas ? betas : alphasCumprod, dtype: .f64, shape: shape, bytes: table))
        if !history.isEmpty {
          let shape = [history.count / MemoryLayout<Double>.stride]
          tensors.append(TensorSource(name: Self.history, dtype: .f64, shape: shape, bytes: history))
        }
        try Safetensors.write(to: path, metadata: metadata(of: trainer, note: note), tensors: tensors)
      }
    }
  }

  private static func metadata(of trainer: Trainer, note: String) -> [String: String] {
    let (options, sampler) = (trainer.options, trainer.sampler)
    var metadata: [String: String] = [
      "format": "pt", "speediff.version": "\(version)", "note": note,
      "trainer.learning_rate": "\(options.learningRate)",
      "trainer.beta1": "\(options.beta1)", "trainer.beta2": "\(options.beta2)", "trainer.eps": "\(options.epsilon)",
      "trainer.weight_decay": "\(options.weightDecay)", "trainer.ema_decay": "\(options.emaDecay)",
      "trainer.ema_warmup": "\(options.emaWarmsUp)", "trainer.max_grad_norm": "\(options.maximumGradientNorm)",
      "trainer.warmup_steps": "\(options.warmUpSteps)", "trainer.seed": "\(options.seed)",
      precision: options.precision.rawValue,
      "trainer.global_step": "\(trainer.globalStep)", "sampler.prediction": "\(sampler.predictionTarget.rawValue)",
    ]
    metadata.merge(NetworkMetadata.of(trainer.network)) { value, _ in value }
    return metadata
  }
}

extension TimestepSampler {
  /// The prediction target; epsilon by default.
  var predictionTarget: PredictionTarget { options.prediction ?? .epsilon }
}

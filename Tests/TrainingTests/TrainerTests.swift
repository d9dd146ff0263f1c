import Networks
import NoiseSchedules
import Testing
import TimestepSampling
import Training

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

@Suite("Trainer")
struct TrainerTests {
  static let configuration = TransformerShape(
    inputSize: 8, patchSize: 4, channels: 1, hiddenSize: 32, depth: 2, heads: 2, mlpRatio: 2, classes: 3,
    classDropout: 0.2, learnsSigma: true)

  /// Four images of a gradient each, and their classes.
  static let images = (0..<256).map { (i: Int) -> Float in
    let (brightness, slope) = (Float(i / 64 + 1) / 4, Float(i % 8) / 3.5 - 1)
    return brightness * slope
  }
  static let labels: [Int64] = [0, 1, 2, 1]

  static func sampler() throws -> TimestepSampler {
    try TimestepSampler(
      schedule: .linear(steps: 1000), sampling: UniformSampling(), weighting: UniformWeighting(),
      options: SamplerOptions(seed: 7, prediction: .epsilon))
  }

  static func trainer(threads: Int = 2, _ change: (inout TrainerOptions) -> Void = { _ in }) throws -> Trainer {
    var options = TrainerOptions()
    (options.learningRate, options.emaDecay, options.weightDecay, options.threads) = (3e-3, 0.9, 0.01, threads)
    (options.maximumGradientNorm, options.warmUpSteps, options.seed) = (1, 5, 3)
    change(&options)
    return try Trainer(configuration.network(), sampler: sampler(), options: options)
  }

  /// Trains on the same batch for some steps, and gives the objective and the gradient's norm of each.
  static func train(
    _ trainer: Trainer, steps: Int, timesteps: [Int64]? = nil, noise: [Float]? = nil
  ) throws -> [[Double]] {
    try (0..<steps).map { _ in
      let objective = try images.withUnsafeBufferPointer { images in
        try labels.withUnsafeBufferPointer { labels in
          var batch = Trainer.Batch(images: images.baseAddress!, labels: labels.baseAddress, count: labels.count)
          guard let timesteps, let noise else { return try trainer.backward(batch) }
          return try timesteps.withUnsafeBufferPointer { timesteps in
            try noise.withUnsafeBufferPointer { noise in
              (batch.timesteps, batch.noise) = (timesteps.baseAddress, noise.baseAddress)
              return try trainer.backward(batch)
            }
          }
        }
      }
      return [objective, try trainer.apply()]
    }
  }

  /// All that a trainer keeps.
  static func memory(_ trainer: Trainer) -> [[UInt32]] {
    let buffers: [Trainer.Buffer] = [.parameters, .firstMoment, .secondMoment, .average, .fixed]
    return buffers.map { trainer.buffer($0).map(\.bitPattern) }
  }

  @Test("The loss falls to a tenth on one small batch", arguments: [1, 2])
  func overfits(threads: Int) throws {
    let trainer = try Self.trainer(threads: threads)
    // Noise with mean 0 and variance 1 of the batch itself.
    let noise = (0..<256).map { (i: Int) -> Float in Float(i * 37 % 64) / 18.5 - 1.7 }
    let losses = try Self.train(trainer, steps: 200, timesteps: [100, 300, 500, 900], noise: noise).map { $0[0] }
    #expect(losses[0] > 0.8, "the untrained network predicts 0")
    #expect(losses[199] < 0.1 * losses[0], "\(losses[0]) became \(losses[199])")
    #expect(trainer.globalStep == 200)
  }

  @Test("A run that was saved and loaded continues bit by bit", arguments: [1, 2])
  func continues(threads: Int) throws {
    let name = temporaryFile()
    defer { unlink(name) }

    let trainer = try Self.trainer(threads: threads)
    _ = try Self.train(trainer, steps: 7)
    try trainer.save(to: name, note: "after seven")
    let expected = try Self.train(trainer, steps: 7)

    let checkpoint = try Checkpoint(path: name)
    #expect(checkpoint.globalStep == 7 && checkpoint.note == "after seven")
    let network = checkpoint.network.description
    #expect(network.family == "dit" && network.values.map(\.name) == TransformerShape.fields.map(\.name))
    #expect(network.values.map(\.value) == Self.configuration.values.map(\.value))
    let loaded = try checkpoint.trainer(sampler: Self.sampler(), threads: threads)
    #expect(loaded.options == trainer.options)
    #expect(try Self.train(loaded, steps: 7) == expected)
    let areSame = Self.memory(loaded) == Self.memory(trainer)
    #expect(areSame)
    #expect(loaded.globalStep == 14)
  }

  @Test("The same seed gives the same run, and another one another", arguments: [1, 2])
  func seeds(threads: Int) throws {
    let runs = try ([3, 3, 4] as [UInt64]).map { seed in
      let trainer = try Self.trainer(threads: threads) { $0.seed = seed }
      return (try Self.train(trainer, steps: 5), Self.memory(trainer))
    }
    let areSame = runs[0] == runs[1]
    #expect(areSame)
    #expect(runs[0].0 != runs[2].0)
  }
}

/// The path of a new file.
func temporaryFile() -> String {
  var path = Array("/tmp/trainer-XXXXXX".utf8CString)
  let file = mkstemp(&path)
  precondition(file >= 0)
  close(file)
  return path.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
}

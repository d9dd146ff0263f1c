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

@Suite("Checkpoints")
struct CheckpointTests {
  /// A trainer whose sampler learns.
  private func trainer(_ sampler: TimestepSampler) throws -> Trainer {
    var options = TrainerOptions()
    options.learningRate = 1e-2
    return try Trainer(TrainerTests.configuration.network(), sampler: sampler, options: options)
  }

  private func sampler() throws -> TimestepSampler {
    try TimestepSampler(
      schedule: .linear(steps: 100), sampling: AdaptiveSampling(bins: 4), weighting: UniformWeighting(),
      options: SamplerOptions(seed: 7, prediction: .epsilon))
  }

  /// Trains, and lets the sampler learn.
  private func train(_ trainer: Trainer, steps: Int) throws {
    for _ in 0..<steps {
      _ = try TrainerTests.train(trainer, steps: 1)
      try trainer.withLastLosses { try trainer.sampler.update(timesteps: $0, losses: $1) }
    }
  }

  private func bytes(_ path: String) throws -> [UInt8] {
    let file = try #require(fopen(path, "r"))
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 1 << 22)
    bytes.removeLast(bytes.count - fread(&bytes, 1, bytes.count, file))
    return bytes
  }

  /// Writes bytes into a file that is there.
  private func overwrite(_ path: String, _ bytes: some Collection<UInt8>, from place: Int = 0) throws {
    let file = try #require(fopen(path, "r+"))
    fseek(file, place, SEEK_SET)
    #expect(fwrite(Array(bytes), 1, bytes.count, file) == bytes.count)
    fclose(file)
  }

  @Test("A checkpoint that is written over or cut after it was opened is an error, and the sampler stays as it was")
  func overwritten() throws {
    let names = [temporaryFile(), temporaryFile()]
    defer { for name in names { unlink(name) } }
    let trainer = try trainer(sampler())
    for name in names {
      try train(trainer, steps: 3)
      try trainer.save(to: name)
    }
    let (early, late) = (try bytes(names[0]), try bytes(names[1]))
    #expect(early.count == late.count)
    for place in [0, early.count / 2, early.count - 4] {
      try overwrite(names[0], early)
      let checkpoint = try Checkpoint(path: names[0])
      try overwrite(names[0], late[place...], from: place)
      let sampler = try sampler()
      try sampler.update(timesteps: [3, 30, 60, 90], losses: [1, 2, 3, 4])
      let history = sampler.history
      do {
        _ = try checkpoint.trainer(sampler: sampler, threads: 1)
        Issue.record("loaded a mixture")
      } catch { #expect("\(error)".hasPrefix("\(names[0]) must match its checksums, got data")) }
      #expect(sampler.history == history)
    }
    try overwrite(names[0], early)
    let checkpoint = try Checkpoint(path: names[0])
    #expect(try checkpoint.trainer(sampler: sampler(), threads: 1).globalStep == 3)
    truncate(names[0], off_t(early.count - 1))
    #expect(throws: (any Error).self) { try checkpoint.trainer(sampler: sampler(), threads: 1) }
  }

  @Test(
    "A number that cannot be loaded is not saved, and the old file stays",
    arguments: [
      (Trainer.Buffer.parameters, Float.nan), (.average, .infinity), (.firstMoment, -.infinity),
      (.secondMoment, .infinity), (.secondMoment, -1), (.fixed, .nan),
    ])
  func numbers(_ buffer: Trainer.Buffer, value: Float) throws {
    let name = temporaryFile()
    defer { unlink(name) }
    let trainer = try trainer(sampler())
    try train(trainer, steps: 1)
    try trainer.save(to: name)
    let (before, place) = (try bytes(name), trainer.buffer(buffer).count / 2 / 16 * 16)
    let good = trainer.buffer(buffer)[place]
    trainer.buffer(buffer)[place] = value
    do {
      try trainer.save(to: name)
      Issue.record("saved \(value)")
    } catch TrainingError.notFinite(let message) {
      #expect(message.contains("must be finite") && message.contains("got \(value); no file was written"))
    }
    #expect(try bytes(name) == before)
    trainer.buffer(buffer)[place] = good
    try trainer.save(to: name)
    #expect(try bytes(name) == before)
  }
}

extension TimestepSampler {
  fileprivate func update(timesteps: [Int64], losses: [Float]) throws {
    try timesteps.withUnsafeBufferPointer { timesteps in
      try losses.withUnsafeBufferPointer { try update(timesteps: timesteps, losses: $0) }
    }
  }
}

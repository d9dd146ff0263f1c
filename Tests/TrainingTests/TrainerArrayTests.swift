import SpeeDiff
import Testing

/// The trainer on arrays and buffers, through the umbrella module.
@Suite("The trainer on arrays")
struct TrainerArrayTests {
  private static func trainer(_ change: (inout TrainerOptions) -> Void = { _ in }) throws -> Trainer {
    try TrainerTests.trainer(threads: 1, change)
  }

  private static func whole() -> Trainer.Batch<[Float]> {
    Trainer.Batch(images: TrainerTests.images, labels: TrainerTests.labels)
  }

  private func message(_ body: () throws -> Void) -> String? {
    #expect(throws: ArgumentError.self, performing: body)?.description
  }

  @Test("Arrays, slices, buffers and other collections train as pointers do")
  func collections() throws {
    let (images, labels) = (TrainerTests.images, TrainerTests.labels)
    let trainers = try (0..<5).map { _ in try Self.trainer() }
    let pointers = try labels.withUnsafeBufferPointer { labels in
      try images.withUnsafeBufferPointer {
        try trainers[0].backward(
          Trainer.UnsafeBatch(images: $0.baseAddress!, labels: labels.baseAddress, count: labels.count))
      }
    }
    let objectives = [
      try trainers[1].backward(Self.whole()),
      try trainers[2].backward(Trainer.Batch(images: ([9] + images)[1...], labels: labels)),
      try images.withUnsafeBufferPointer { try trainers[3].backward(Trainer.Batch(images: $0, labels: labels)) },
      try trainers[4].backward(Trainer.Batch(images: images.lazy.map { $0 }, labels: labels)),
    ]
    #expect(objectives == Array(repeating: pointers, count: 4))
    for trainer in trainers { _ = try trainer.apply() }
    let memories = trainers.map(TrainerTests.memory)
    let areSame = memories.allSatisfy { $0 == memories[0] }
    #expect(areSame)
  }

  @Test("Arrays of another length are refused before anything changes")
  func lengths() throws {
    let trainer = try Self.trainer()
    let before = TrainerTests.memory(trainer)
    func refusal(_ change: (inout Trainer.Batch<[Float]>) -> Void) -> String? {
      var batch = Self.whole()
      change(&batch)
      return message { _ = try trainer.backward(batch) }
    }
    #expect(refusal { $0.images.removeLast() } == "images must have 64 floats for each image, got 255")
    #expect(refusal { $0.labels = [0, 1, 2] } == "labels must have 4 entries for 4 images, got 3")
    #expect(refusal { $0.timesteps = [1, 2, 3, 4, 5] } == "timesteps must have 4 entries for 4 images, got 5")
    #expect(refusal { $0.noise = [0] } == "noise must have 256 entries for 4 images, got 1")
    #expect(refusal { $0.weights = [] } == "weights must have 4 entries for 4 images, got 0")
    #expect(refusal { ($0.images, $0.labels) = ([], []) } == "count must be in [1, 1048576], got 0")
    #expect(
      message { _ = try trainer.forward(images: TrainerTests.images, timesteps: [1]) }?.hasPrefix("timesteps") == true)
    #expect(message { _ = try trainer.generate(labels: [1], seeds: [1, 2]) }?.hasPrefix("labels") == true)
    let isSame = TrainerTests.memory(trainer) == before
    #expect(isSame)
  }

  @Test("Errors have Swift's labels, and C's for C")
  func names() throws {
    for (change, inSwift, inC) in [
      ({ $0.beta1 = 1 }, "beta1 must be in [0, 1), got 1.0", "beta1 must be in [0, 1), got 1.0"),
      (
        { $0.maximumGradientNorm = -1 }, "maximumGradientNorm must be positive, got -1.0",
        "max_grad_norm must be positive, got -1.0"
      ),
      (
        { ($0.learningRate, $0.weightDecay) = (1e20, 1e20) },
        "weightDecay must be finite in float32 when multiplied by learningRate = 1e+20, got 1e+20",
        "weight_decay must be finite in float32 when multiplied by learning_rate = 1e+20, got 1e+20"
      ),
    ] as [((inout TrainerOptions) -> Void, String, String)] {
      let error = #expect(throws: ArgumentError.self) { try Self.trainer(change) }
      #expect(error?.description == inSwift)
      #expect(error?.inC.description == inC)
    }
    let trainer = try Self.trainer()
    #expect(message { try trainer.setGlobalStep(-1) } == "globalStep must be at least 0, got -1")
    var batch = Self.whole()
    batch.labels?[2] = 9
    #expect(message { _ = try trainer.backward(batch) } == "labels[2] must be in [0, 4), got 9")
    #expect(
      message { _ = try NetworkFamily(named: "dit").make([("hidden_size", 6), ("num_heads", 2)]) }?.hasPrefix(
        "hidden_size must be")
        == true,
      "as the caller wrote it")
    #expect(
      message { _ = try TransformerShape(hiddenSize: 6, heads: 2).network() }?.hasPrefix("hiddenSize must be") == true)
  }

  @Test("Losses, outputs and images come back as arrays")
  func results() throws {
    let trainer = try Self.trainer()
    #expect(message { _ = try trainer.lastLosses() } == "losses must be read after backward, got no backward yet")
    _ = try trainer.backward(Self.whole())
    let (timesteps, losses) = try trainer.lastLosses()
    #expect(timesteps.count == 4 && losses.allSatisfy { $0 > 0 })
    _ = try trainer.apply()
    let output = try trainer.forward(
      images: TrainerTests.images, timesteps: [1, 20.5, 300, 999], labels: TrainerTests.labels)
    #expect(output.count == 2 * 256 && output.allSatisfy(\.isFinite))
    var progress: [Int] = []
    let options = GenerationOptions(method: .ddim, steps: 3)
    let images = try trainer.generate(labels: [0, 2], seeds: [5, 6], options: options) { done, _ in
      progress.append(done)
      return true
    }
    #expect(images.count == 128 && images.allSatisfy(\.isFinite) && progress == [1, 2, 3])
    let again = try trainer.generate(labels: [2], seeds: [6], options: options)
    #expect(zip(again, images[64...]).allSatisfy { abs($0 - $1) < 1e-5 }, "an image depends on its seed and label")
    #expect(try trainer.generate(labels: [], seeds: []).isEmpty)
  }
}

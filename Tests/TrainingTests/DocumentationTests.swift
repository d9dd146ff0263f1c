import SpeeDiff
import Testing

@Suite struct DocumentationTests {
  @Test("The program of docs/c-and-swift.md draws and trains")
  func program() throws {
    let schedule = try NoiseSchedule.linear(steps: 1000)
    let sampler = try TimestepSampler.speed(schedule: schedule, options: SamplerOptions(seed: 0))
    let (timesteps, weights) = try sampler.sample(256, call: 0)
    print("t = \(timesteps[0]), w = \(weights[0])")
    #expect(timesteps.allSatisfy { (0..<1000).contains($0) })
    #expect(weights.allSatisfy { (0.4...0.6).contains($0) })

    let shape = TransformerShape(
      inputSize: 8, patchSize: 4, channels: 1, hiddenSize: 32, depth: 2, heads: 2, classes: 3)
    var options = TrainerOptions()
    (options.learningRate, options.threads) = (1e-3, 2)
    let trainer = try Trainer(shape.network(), sampler: sampler, options: options)
    let images = (0..<256).map { Float($0 % 8) / 3.5 - 1 }
    for _ in 0..<10 {
      let loss = try trainer.backward(Trainer.Batch(images: images, labels: [0, 1, 2, 1]))
      let norm = try trainer.apply()
      print("step \(trainer.globalStep): loss \(loss), gradient \(norm)")
      #expect(loss > 0 && norm > 0)
    }

    let howTo = GenerationOptions(method: .ddim, steps: 10)
    let generated = try trainer.generate(labels: [0, 2], seeds: [1, 2], options: howTo)
    print("\(generated.count) floats")
    #expect(generated.count == 128 && generated.allSatisfy(\.isFinite))
  }
}

import NoiseSchedules
import Testing
import TimestepSampling

@Suite struct ReadmeTests {
  @Test("The README's lines give a batch with its weights")
  func readme() throws {
    let schedule = try NoiseSchedule.linear(steps: 1000)
    let sampler = try TimestepSampler.speed(schedule: schedule, options: SamplerOptions(seed: 0))
    let (timesteps, weights) = try sampler.sample(256, call: 0)
    #expect(timesteps.allSatisfy { (0..<1000).contains($0) })
    #expect(weights.allSatisfy { (0.4...0.6).contains($0) })
  }
}

import NoiseSchedules
import Testing
import TimestepSampling

/// Samplings and weightings that others write are checked, because draws read their tables without bounds checks.
@Suite struct CustomMethodTests {
  struct Given: Sampling, Weighting {
    let table: [Double]
    func probabilities(for schedule: NoiseSchedule) -> [Double] { table }
    func weights(for schedule: NoiseSchedule, prediction: PredictionTarget?) -> [Double] { table }
  }

  @Test(
    "A sampling must give T finite values of at least 0 with sum 1",
    arguments: [[], [1], [0.5, 0.5, 0], [0.5, 0.6], [-0.5, 1.5], [.nan, 1], [.infinity, 0]])
  func samplings(table: [Double]) throws {
    let schedule = try NoiseSchedule(betas: [0.1, 0.2])
    #expect(throws: ArgumentError.self) {
      try TimestepSampler(
        schedule: schedule, sampling: Given(table: table), weighting: UniformWeighting(),
        options: SamplerOptions(seed: 0))
    }
  }

  @Test("A weighting must give T finite values of at least 0", arguments: [[], [1], [1, 1, 1], [-1, 1], [.nan, 1]])
  func weightings(table: [Double]) throws {
    let schedule = try NoiseSchedule(betas: [0.1, 0.2])
    #expect(throws: ArgumentError.self) {
      try TimestepSampler(
        schedule: schedule, sampling: UniformSampling(), weighting: Given(table: table),
        options: SamplerOptions(seed: 0))
    }
  }

  @Test("A sampling of one's own is what is drawn")
  func ownSampling() throws {
    let schedule = try NoiseSchedule(betas: [0.1, 0.2, 0.3])
    let sampler = try TimestepSampler(
      schedule: schedule, sampling: Given(table: [0.25, 0, 0.75]), weighting: Given(table: [2, 3, 4]),
      options: SamplerOptions(seed: 0))
    let (timesteps, weights) = try sampler.sample(100_000, call: 0)
    #expect(timesteps.allSatisfy { $0 != 1 })
    #expect(zip(timesteps, weights).allSatisfy { $1 == Float($0 + 2) })
    #expect(abs(timesteps.count { $0 == 0 } - 25_000) < 700, "five standard deviations")
  }
}

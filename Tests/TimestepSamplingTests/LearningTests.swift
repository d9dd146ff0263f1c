import NoiseSchedules
import Testing

@testable import TimestepSampling

@Suite("Methods that learn")
struct LearningTests {
  static let schedule = try! NoiseSchedule.linear(steps: 100)

  private func sampler(
    _ sampling: any Sampling, _ weighting: any Weighting = UniformWeighting()
  ) throws -> TimestepSampler {
    try TimestepSampler(
      schedule: Self.schedule, sampling: sampling, weighting: weighting,
      options: SamplerOptions(seed: 0, prediction: .epsilon))
  }

  private func update(_ sampler: TimestepSampler, _ timesteps: [Int64], _ losses: [Float]) throws {
    try timesteps.withUnsafeBufferPointer { t in
      try losses.withUnsafeBufferPointer { try sampler.update(timesteps: t, losses: $0) }
    }
  }

  private static let steps = (0..<Int64(100)).map { $0 }

  @Test("The second moment rules once every step has its history, and its last losses alone")
  func secondMoment() throws {
    let sampler = try sampler(LossSecondMomentSampling(history: 2, uniformProb: 0.1))
    try update(sampler, Self.steps, Self.steps.map { _ in 1e6 })
    #expect(try sampler.probabilities() == [Double](repeating: 0.01, count: 100))
    for _ in 0..<2 { try update(sampler, Self.steps, Self.steps.map { Float($0) }) }
    let (p, w) = try (sampler.probabilities(), sampler.weights())
    for t in 0..<100 {
      #expect(abs(p[t] - (0.9 * Double(t) / 4950 + 0.001)) < 1e-15)
      #expect(abs(w[t] * p[t] - 0.01) < 1e-15)
    }
  }

  @Test("Adaptive draws follow w·loss, and leave the objective as it is")
  func adaptive() throws {
    let sampler = try sampler(AdaptiveSampling(bins: 10), MinSNRWeighting())
    let plain = try MinSNRWeighting().weights(for: Self.schedule, prediction: .epsilon)
    for _ in 0..<5 { try update(sampler, Self.steps, plain.map { Float(2 / $0) }) }
    // w·loss is 2 everywhere.
    for p in try sampler.probabilities() { #expect(abs(p - 0.01) < 1e-8) }
    try update(sampler, [Int64](repeating: 5, count: 20_000), [Float](repeating: 1e3, count: 20_000))
    let (p, w) = try (sampler.probabilities(), sampler.weights())
    #expect(p[5] > 0.09 && p[5] == p[0])
    for t in 0..<100 { #expect(abs(w[t] * p[t] * 100 - plain[t]) < 1e-12 * plain[t]) }
  }

  @Test("Uncertainty divides by the other factors' w·loss")
  func uncertainty() throws {
    let sampler = try sampler(UniformSampling(), ProductWeighting(EDMWeighting(), UncertaintyWeighting(bins: 100)))
    let edm = try EDMWeighting().weights(for: Self.schedule, prediction: .epsilon)
    #expect(try sampler.weights() == edm)
    try update(sampler, Self.steps, Self.steps.map { Float($0 + 1) })
    for (t, w) in try sampler.weights().enumerated() { #expect(abs(w * Double(t + 1) - 1) < 1e-12) }
  }

  @Test("A wrong batch changes nothing, and says which entry is wrong")
  func refusedBatches() throws {
    let sampler = try sampler(LossSecondMomentSampling(history: 1))
    try update(sampler, Self.steps, Self.steps.map { Float($0) })
    let before = (sampler.history, try sampler.probabilities())
    for (timesteps, losses) in [
      ([0, 100], [1, 1]), ([0, -1], [1, 1]), ([0, 1], [1, -1]), ([0, 1], [1, .nan]), ([0, 1], [1, .infinity]),
      ([0, 1], [1]),
    ] as [([Int64], [Float])] {
      #expect(throws: ArgumentError.self) { try update(sampler, timesteps, losses) }
    }
    #expect(sampler.history == before.0)
    #expect(try sampler.probabilities() == before.1)
    let still = try self.sampler(UniformSampling())
    #expect(still.historyCount == 0)
    #expect(throws: ArgumentError.self) { try update(still, [0], [1]) }
  }

  @Test("A history continues in another sampler, and a damaged one is refused")
  func histories() throws {
    let sampling = try MixtureSampling(
      a: AdaptiveSampling(bins: 7), b: LossSecondMomentSampling(history: 3), share: 0.5)
    let (one, other) = try (
      sampler(sampling, UncertaintyWeighting(bins: 9)), sampler(sampling, UncertaintyWeighting(bins: 9))
    )
    for k in 1...4 { try update(one, Self.steps, Self.steps.map { Float($0 + 1) / Float(k) }) }
    try other.restore(history: one.history)
    #expect(other.history.count == one.historyCount)
    #expect(try other.probabilities() == one.probabilities())
    #expect(try other.weights() == one.weights())
    let before = other.history
    var histories = [Array(before.dropLast()), before + [0], []]
    for (place, value) in [(0, 0.5), (3, -1), (20, .nan), (40, .infinity)] {
      var damaged = before
      damaged[place] = value
      histories.append(damaged)
    }
    for history in histories {
      #expect(throws: ArgumentError.self) { try other.restore(history: history) }
      #expect(other.history == before)
    }
  }
}

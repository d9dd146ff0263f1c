import NoiseSchedules
import Testing

@testable import TimestepSampling

@Suite struct SamplerTests {
  static let linear = try! NoiseSchedule.linear(steps: 1000)

  @Test("The paper's P, weights and mean weight are the known ones")
  func paperPreset() throws {
    let sampler = try TimestepSampler.speed(schedule: Self.linear, options: SamplerOptions(seed: 0))
    for i in 0..<1000 { #expect(abs(try sampler.probabilities()[i] - (i < 700 ? 5.0 : 1.0) / 3800) < 1e-18) }
    #expect(abs(try sampler.weights()[219] - 0.6) < 1e-15)
    #expect(abs(try sampler.weights()[999] - 0.4) < 1e-15)
    #expect(abs(try sampler.weights()[0] - 0.4088) < 5e-5)
    #expect(abs(try sampler.weights()[699] - 0.4072) < 5e-5)
    #expect(abs(try sampler.expectedWeight() - 0.4965) < 5e-5)
  }

  @Test("The official preset's dual map and effective k are the known ones")
  func officialPreset() throws {
    let sampler = try TimestepSampler.officialSpeed(schedule: Self.linear, options: SamplerOptions(seed: 0))
    #expect(sampler.pairing?.center == 642)
    #expect(try DualPairing(for: .quadratic(steps: 1000)).center == 829)
    #expect(try DualPairing(for: .cosine(steps: 1000)).center == 959)
    #expect(abs(try sampler.expectedWeight() - 0.5437) < 5e-5)
    #expect(abs(try sampler.expectedWeight(count: 32) - 0.529) < 5e-4)
    for (count, k) in [(1, 5.0), (2, 5.0), (8, 8.3), (32, 9.8), (256, 10.3)] {
      let marginal = try sampler.marginal(count: count)
      let ratio = marginal[..<700].reduce(0, +) / 700 / (marginal[700...].reduce(0, +) / 300)
      #expect(abs(ratio - k) < 0.05, "n = \(count)")
      #expect(abs(marginal.reduce(0, +) - 1) < 1e-12)
    }
  }

  @Test("Duals stand behind the entries they mirror", arguments: [1, 2, 3, 8, 33])
  func pairs(total: Int) throws {
    let sampler = try TimestepSampler.officialSpeed(schedule: Self.linear, options: SamplerOptions(seed: 3))
    let plain = try TimestepSampler(
      schedule: Self.linear, sampling: AsymmetricSampling(threshold: .step(700)), weighting: UniformWeighting(),
      options: SamplerOptions(seed: 3))
    let paired = try sampler.sample(total, call: 9).timesteps
    let drawn = try plain.sample(total, call: 9).timesteps
    let primaries = min(total, total / 2 + 1)
    for i in 0..<total {
      #expect(paired[i] == (i < primaries ? drawn[i] : abs(642 - drawn[i - primaries])))
    }
  }

  @Test("Each call pairs its own entries", arguments: [(1, 1), (2, 1), (8, 1), (1, 2), (3, 4)])
  func pairsOfCalls(worldSize: Int, accumulation: Int) throws {
    let (count, step) = (11, 7)
    let plain = try TimestepSampler(
      schedule: Self.linear, sampling: AsymmetricSampling(threshold: .step(700)), weighting: UniformWeighting(),
      options: SamplerOptions(seed: 3))
    let drawn = try plain.sample(worldSize * accumulation * count, call: UInt64(step)).timesteps
    for rank in 0..<worldSize {
      let layout = try BatchLayout(rank: rank, worldSize: worldSize, accumulation: accumulation)
      let sampler = try TimestepSampler.officialSpeed(
        schedule: Self.linear, options: SamplerOptions(seed: 3, layout: layout))
      for microBatch in 0..<accumulation {
        let first = (microBatch * worldSize + rank) * count
        let paired = try sampler.sample(count, call: UInt64(step * accumulation + microBatch)).timesteps
        for i in 0..<count {
          #expect(paired[i] == (i < 6 ? drawn[first + i] : abs(642 - drawn[first + i - 6])))
        }
      }
    }
  }

  @Test("Any slice of a batch is that part of the whole", arguments: [Strata.none, .stratified, .lowDiscrepancy])
  func slices(strata: Strata) throws {
    let sampler = try TimestepSampler.speed(
      schedule: Self.linear, options: SamplerOptions(seed: 11, strata: strata))
    for total in [1, 63, 64, 65, 200, 1031] {
      let whole = try sampler.sample(total, call: 4)
      for (offset, count) in [(0, total), (total / 3, total / 2), (total - 1, 1), (total, 0)] {
        var timesteps = [Int64](repeating: -1, count: count + 1)
        var weights = [Float](repeating: -1, count: count + 1)
        try sampler.draw(
          try BatchSlice(step: 4, offset: offset, count: count, total: total), timesteps: &timesteps,
          weights: &weights)
        #expect(Array(timesteps[..<count]) == Array(whole.timesteps[offset..<offset + count]))
        #expect(Array(weights[..<count]) == Array(whole.weights[offset..<offset + count]))
        #expect(timesteps[count] == -1 && weights[count] == -1, "nothing is written past the end")
      }
    }
  }

  @Test("Ranks and micro-batches divide one global batch", arguments: [1, 2, 4, 8], [1, 2, 4])
  func layouts(worldSize: Int, accumulation: Int) throws {
    let total = 64
    let whole = try TimestepSampler.speed(schedule: Self.linear, options: SamplerOptions(seed: 5))
      .sample(total, call: 17).timesteps
    var gathered: [Int64] = []
    for microBatch in 0..<accumulation {
      for rank in 0..<worldSize {
        let layout = try BatchLayout(rank: rank, worldSize: worldSize, accumulation: accumulation)
        let sampler = try TimestepSampler.speed(
          schedule: Self.linear, options: SamplerOptions(seed: 5, layout: layout))
        gathered += try sampler.sample(
          total / worldSize / accumulation, call: UInt64(17 * accumulation + microBatch)
        ).timesteps
      }
    }
    #expect(gathered == whole)
  }

  @Test("A million draws follow P", arguments: [Strata.none, .stratified, .lowDiscrepancy])
  func frequencies(strata: Strata) throws {
    let sampler = try TimestepSampler.speed(
      schedule: Self.linear, options: SamplerOptions(seed: 1, strata: strata))
    var tail = 0
    var weight = 0.0
    for call in 0..<1000 {
      let batch = try sampler.sample(1000, call: UInt64(call))
      tail += batch.timesteps.count { $0 >= 700 }
      weight += batch.weights.reduce(0) { $0 + Double($1) }
    }
    let p = 300.0 / 3800
    #expect(abs(Double(tail) - 1e6 * p) < 5 * (1e6 * p * (1 - p)).squareRoot())
    #expect(abs(weight / 1e6 - 0.4965) < 5e-4)
  }

  @Test("Normalized weights have mean 1 under what is drawn")
  func normalization() throws {
    let options = SamplerOptions(seed: 0, normalize: true)
    let sampler = try TimestepSampler.speed(schedule: Self.linear, options: options)
    let mean = try zip(sampler.probabilities(), sampler.weights()).reduce(0) { $0 + $1.0 * $1.1 }
    #expect(abs(mean - 1) < 1e-12)
    let official = try TimestepSampler.officialSpeed(schedule: Self.linear, options: options)
    var sum = 0.0
    for call in 0..<20_000 {
      sum += try official.sample(32, call: UInt64(call)).weights.reduce(0) { $0 + Double($1) }
    }
    #expect(abs(sum / (32 * 20_000) - 1) < 1e-3)
  }

  @Test("What does not fit together is refused")
  func refusals() throws {
    func expectError(_ part: String, _ body: () throws -> Void) {
      #expect { try body() } throws: { "\($0)".contains(part) }
    }
    let options = SamplerOptions(seed: 0)
    expectError("k must be at least 1, got 0.5") { _ = try AsymmetricSampling(k: 0.5) }
    expectError("k must be at least 1, got nan") { _ = try AsymmetricSampling(k: .nan) }
    expectError("k must be finite, got inf") { _ = try AsymmetricSampling(k: .infinity) }
    expectError("k must leave") { _ = try TimestepSampler.speed(schedule: Self.linear, k: 1e308, options: options) }
    expectError("lam must be in [0.5, 1], got 5.0") { _ = try ChangeAwareWeighting(lam: 5) }
    expectError("tau must be above 0, got 0") { _ = try AsymmetricSampling(threshold: .step(0)) }
    expectError("tau must be below the number of steps (1000), got 1000") {
      _ = try AsymmetricSampling(threshold: .step(1000)).probabilities(for: Self.linear)
    }
    expectError("strata must be none") {
      _ = try TimestepSampler.officialSpeed(
        schedule: Self.linear, options: SamplerOptions(seed: 0, strata: .stratified))
    }
    expectError("at least 3 steps") {
      _ = try TimestepSampler(
        schedule: NoiseSchedule(betas: [0.1, 0.2]), sampling: UniformSampling(), weighting: ChangeAwareWeighting(),
        options: options)
    }
    expectError("rank must be at least 0 and below world_size = 2, got 2") {
      _ = try BatchLayout(rank: 2, worldSize: 2)
    }
    expectError("n times world_size") {
      _ = try BatchLayout(rank: 0, worldSize: 1 << 20, accumulation: 1 << 20).slice(call: 0, count: 1)
    }
  }
}

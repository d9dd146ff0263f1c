import NoiseSchedules
import Testing

@testable import TimestepSampling

@Suite("Samplings")
struct SamplingTests {
  static let linear = try! NoiseSchedule.linear(steps: 1000)

  @Test("The normal distribution has its quantiles, far into both tails")
  func normalQuantiles() {
    // Φ⁻¹ to 17 digits, from mpmath.
    for (p, quantile) in [
      (0.5, 0.0), (0.9, 1.281_551_565_544_600_4), (0.975, 1.959_963_984_540_054_2), (1e-3, -3.090_232_306_167_813_5),
      (1e-10, -6.361_340_902_404_056), (1e-19, -9.013_271_153_126_674),
    ] {
      let lower = NormalDistribution.quantile(Probability(lower: p, upper: 1 - p))
      #expect(abs(lower - quantile) <= 4e-16 * max(1, abs(quantile)))
      let upper = NormalDistribution.quantile(Probability(lower: 1 - p, upper: p))
      #expect(abs(upper + quantile) <= 4e-16 * max(1, abs(quantile)))
    }
  }

  @Test("Samplings in u have mass 1 and quantiles that invert their mass")
  func unitSamplings() throws {
    let samplings: [any UnitSampling] = [
      UniformSampling(), try LogitNormalSampling(mean: 0.5, std: 1.5), try ModeSampling(), try ModeSampling(scale: -1),
      try ModeSampling(scale: ModeSampling.largestScale), CosMapSampling(), try BetaSampling(),
      try BetaSampling(alpha: 2, beta: 5), try BetaSampling(alpha: 1, beta: 0.3),
    ]
    for sampling in samplings {
      #expect(abs(sampling.mass(from: 0, to: 1) - 1) < 1e-12)
      for p in [1e-4, 0.01, 0.3, 0.5, 0.77, 0.999] {
        let u = sampling.quantile(Probability(lower: p, upper: 1 - p))
        #expect(abs(u.lower + u.upper - 1) < 1e-15)
        // As near as the neighbours of u in double precision tell.
        #expect(sampling.mass(from: 0, to: u.lower.nextDown) < p + 1e-12)
        #expect(sampling.mass(from: 0, to: min(1, u.lower.nextUp)) > p - 1e-12)
      }
    }
  }

  @Test("Samplings in λ have mass 1 and quantiles that invert their mass")
  func logSNRSamplings() throws {
    let samplings: [any LogSNRSampling] = [
      try LogNormalSampling(), try LaplaceSampling(mean: 1, scale: 0.7), try CauchySampling(mean: -1, scale: 2),
    ]
    for sampling in samplings {
      #expect(abs(sampling.mass(from: -.infinity, to: .infinity) - 1) < 1e-14)
      for p in [1e-9, 0.01, 0.3, 0.5, 0.77, 0.999] {
        let level = sampling.quantile(Probability(lower: p, upper: 1 - p))
        #expect(abs(sampling.mass(from: -.infinity, to: level) - p) < 1e-14)
      }
    }
  }

  @Test("Beta with β = 1 is the power that B-TTDM draws")
  func betaPower() throws {
    let probabilities = try BetaSampling(alpha: 0.8, beta: 1).probabilities(for: Self.linear)
    var before = 0.0
    for (i, p) in probabilities.enumerated() {
      let power = Double.pow(Double(i + 1) / 1000, 0.8)
      #expect(abs(p - (power - before)) < 1e-13)
      before = power
    }
  }

  @Test("A shift of a sampling in λ is the sampling with another mean")
  func exactShift() throws {
    let shifted = try ShiftedSampling(base: LaplaceSampling(mean: 1, scale: 0.5), shift: 3)
    let moved = try LaplaceSampling(mean: 1 - 2 * Double.log(3), scale: 0.5)
    let (a, b) = try (shifted.probabilities(for: Self.linear), moved.probabilities(for: Self.linear))
    for (p, q) in zip(a, b) { #expect(abs(p - q) < 1e-14) }
  }

  @Test("A shift by 1 changes nothing, and one towards noise and back loses what left the range alone")
  func shiftOfSteps() throws {
    let base = try TruncatedSampling(base: UniformSampling(), start: 300, end: 500)
    let before = try base.probabilities(for: Self.linear)
    let same = try ShiftedSampling(base: base, shift: 1).probabilities(for: Self.linear)
    for (p, q) in zip(before, same) { #expect(abs(p - q) < 1e-14) }
    let moved = try ShiftedSampling(base: base, shift: 2).probabilities(for: Self.linear)
    func mean(_ p: [Double]) -> Double { zip(p, Self.linear.logSNR).reduce(0) { $0 + $1.0 * $1.1 } }
    #expect(abs(mean(moved) - (mean(before) - 2 * Double.log(2))) < 0.02)
  }

  @Test("A blend changes at the steps that it announces, and only there")
  func blendSteps() throws {
    let blend = try BlendSampling(
      first: UniformSampling(), second: LaplaceSampling(), startStep: 7, endStep: 7 + 2503)
    let state = try blend.state(for: Self.linear)
    var step: UInt64 = 0
    var changes = 0
    while let next = state.nextChange(after: step) {
      #expect(next > step)
      #expect(try state.probabilities(at: step) == state.probabilities(at: next - 1))
      #expect(try state.probabilities(at: step) != state.probabilities(at: next))
      step = next
      changes += 1
    }
    #expect(changes == 1000 && step == 7 + 2503)
  }

  @Test("What would not work later in training is told when a sampler is made")
  func laterTrouble() throws {
    // Between the two blends' changes half of the steps cannot be drawn.
    let partial = try TruncatedSampling(base: UniformSampling(), end: 500)
    let inner = try BlendSampling(first: partial, second: UniformSampling(), startStep: 1000, endStep: 2000)
    let outer = try BlendSampling(first: UniformSampling(), second: inner, endStep: 100)
    #expect(throws: ArgumentError.self) {
      try TimestepSampler(
        schedule: Self.linear, sampling: outer, weighting: ToEmphasisWeighting(),
        options: SamplerOptions(seed: 0, prediction: .epsilon))
    }
  }

  @Test("Combinations have a largest size, so that no nest exhausts the stack")
  func largestCombination() throws {
    var sampling: any Sampling = UniformSampling()
    var weighting: any Weighting = UniformWeighting()
    for _ in 1..<256 { sampling = try ShiftedSampling(base: sampling, shift: 1) }
    for _ in 1..<8 { weighting = try ProductWeighting(weighting, weighting) }
    #expect(try sampling.probabilities(for: Self.linear).count == 1000)
    #expect(throws: ArgumentError.self) { try ShiftedSampling(base: sampling, shift: 1) }
    #expect(throws: ArgumentError.self) { try ProductWeighting(weighting, weighting) }
  }

  @Test(
    "Parameters out of range are refused",
    arguments: [
      { _ = try LogNormalSampling(std: 0) }, { _ = try LaplaceSampling(scale: -1) },
      { _ = try CauchySampling(mean: .nan) },
      { _ = try LogitNormalSampling(std: .infinity) }, { _ = try ModeSampling(scale: 1.752) },
      { _ = try ModeSampling(scale: -1.001) }, { _ = try BetaSampling(alpha: 0) }, { _ = try BetaSampling(beta: 1e5) },
      { _ = try ShiftedSampling(base: UniformSampling(), shift: 0) },
      { _ = try TruncatedSampling(base: UniformSampling(), start: 5, end: 5) },
      { _ = try TruncatedSampling(base: UniformSampling(), end: 1001).probabilities(for: linear) },
      { _ = try LaplaceSampling(mean: 1e6).probabilities(for: linear) },
      { _ = try MixtureSampling(a: UniformSampling(), b: UniformSampling(), share: 1.1) },
      { _ = try BlendSampling(first: UniformSampling(), second: UniformSampling(), startStep: 5, endStep: 5) },
      { _ = try BlendSampling.clts(std: 0) }, { _ = try BlendSampling.noiseToDetail(scale: 0) },
      { _ = try BlendSampling.noiseToDetail(endStep: 0) },
      { _ = try BlendSampling.clts(mean: 1e9).state(for: linear).probabilities(at: .max) },
    ] as [@Sendable () throws -> Void])
  func refused(_ make: @Sendable () throws -> Void) {
    #expect(throws: ArgumentError.self, performing: make)
  }
}

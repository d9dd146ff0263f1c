import NoiseSchedules
import Testing

@testable import TimestepSampling

@Suite("Densities")
struct DensityTests {
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

  @Test("Densities in u have mass 1 and quantiles that invert their mass")
  func unitDensities() throws {
    let densities: [any UnitDensity] = [
      UniformDensity(), try LogitNormalDensity(mean: 0.5, std: 1.5), try ModeDensity(), try ModeDensity(scale: -1),
      try ModeDensity(scale: ModeDensity.largestScale), CosMapDensity(), try BetaDensity(),
      try BetaDensity(alpha: 2, beta: 5), try BetaDensity(alpha: 1, beta: 0.3),
    ]
    for density in densities {
      #expect(abs(density.mass(from: 0, to: 1) - 1) < 1e-12)
      for p in [1e-4, 0.01, 0.3, 0.5, 0.77, 0.999] {
        let u = density.quantile(Probability(lower: p, upper: 1 - p))
        #expect(abs(u.lower + u.upper - 1) < 1e-15)
        // As near as the neighbours of u in double precision tell.
        #expect(density.mass(from: 0, to: u.lower.nextDown) < p + 1e-12)
        #expect(density.mass(from: 0, to: min(1, u.lower.nextUp)) > p - 1e-12)
      }
    }
  }

  @Test("Densities in λ have mass 1 and quantiles that invert their mass")
  func logSNRDensities() throws {
    let densities: [any LogSNRDensity] = [
      try LogNormalDensity(), try LaplaceDensity(mean: 1, scale: 0.7), try CauchyDensity(mean: -1, scale: 2),
    ]
    for density in densities {
      #expect(abs(density.mass(from: -.infinity, to: .infinity) - 1) < 1e-14)
      for p in [1e-9, 0.01, 0.3, 0.5, 0.77, 0.999] {
        let level = density.quantile(Probability(lower: p, upper: 1 - p))
        #expect(abs(density.mass(from: -.infinity, to: level) - p) < 1e-14)
      }
    }
  }

  @Test("Beta with β = 1 is the power that B-TTDM draws")
  func betaPower() throws {
    let probabilities = try BetaDensity(alpha: 0.8, beta: 1).probabilities(for: Self.linear)
    var before = 0.0
    for (i, p) in probabilities.enumerated() {
      let power = Double.pow(Double(i + 1) / 1000, 0.8)
      #expect(abs(p - (power - before)) < 1e-13)
      before = power
    }
  }

  @Test("A shift of a density in λ is the density with another mean")
  func exactShift() throws {
    let shifted = try ShiftedDensity(base: LaplaceDensity(mean: 1, scale: 0.5), shift: 3)
    let moved = try LaplaceDensity(mean: 1 - 2 * Double.log(3), scale: 0.5)
    let (a, b) = try (shifted.probabilities(for: Self.linear), moved.probabilities(for: Self.linear))
    for (p, q) in zip(a, b) { #expect(abs(p - q) < 1e-14) }
  }

  @Test("A shift by 1 changes nothing, and one towards noise and back loses what left the range alone")
  func shiftOfSteps() throws {
    let base = try TruncatedDensity(base: UniformDensity(), start: 300, end: 500)
    let before = try base.probabilities(for: Self.linear)
    let same = try ShiftedDensity(base: base, shift: 1).probabilities(for: Self.linear)
    for (p, q) in zip(before, same) { #expect(abs(p - q) < 1e-14) }
    let moved = try ShiftedDensity(base: base, shift: 2).probabilities(for: Self.linear)
    func mean(_ p: [Double]) -> Double { zip(p, Self.linear.logSNR).reduce(0) { $0 + $1.0 * $1.1 } }
    #expect(abs(mean(moved) - (mean(before) - 2 * Double.log(2))) < 0.02)
  }

  @Test("A blend changes at the steps that it announces, and only there")
  func blendSteps() throws {
    let blend = try BlendDensity(
      first: UniformDensity(), second: LaplaceDensity(), startStep: 7, endStep: 7 + 2503)
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
    let partial = try TruncatedDensity(base: UniformDensity(), end: 500)
    let inner = try BlendDensity(first: partial, second: UniformDensity(), startStep: 1000, endStep: 2000)
    let outer = try BlendDensity(first: UniformDensity(), second: inner, endStep: 100)
    #expect(throws: ArgumentError.self) {
      try TimestepSampler(
        schedule: Self.linear, density: outer, weighting: ToEmphasisWeighting(),
        options: SamplerOptions(seed: 0, prediction: .epsilon))
    }
  }

  @Test("Combinations have a largest size, so that no nest exhausts the stack")
  func largestCombination() throws {
    var density: any TimestepDensity = UniformDensity()
    var weighting: any TimestepWeighting = UniformWeighting()
    for _ in 1..<256 { density = try ShiftedDensity(base: density, shift: 1) }
    for _ in 1..<8 { weighting = try ProductWeighting(weighting, weighting) }
    #expect(try density.probabilities(for: Self.linear).count == 1000)
    #expect(throws: ArgumentError.self) { try ShiftedDensity(base: density, shift: 1) }
    #expect(throws: ArgumentError.self) { try ProductWeighting(weighting, weighting) }
  }

  @Test(
    "Parameters out of range are refused",
    arguments: [
      { _ = try LogNormalDensity(std: 0) }, { _ = try LaplaceDensity(scale: -1) },
      { _ = try CauchyDensity(mean: .nan) },
      { _ = try LogitNormalDensity(std: .infinity) }, { _ = try ModeDensity(scale: 1.752) },
      { _ = try ModeDensity(scale: -1.001) }, { _ = try BetaDensity(alpha: 0) }, { _ = try BetaDensity(beta: 1e5) },
      { _ = try ShiftedDensity(base: UniformDensity(), shift: 0) },
      { _ = try TruncatedDensity(base: UniformDensity(), start: 5, end: 5) },
      { _ = try TruncatedDensity(base: UniformDensity(), end: 1001).probabilities(for: linear) },
      { _ = try LaplaceDensity(mean: 1e6).probabilities(for: linear) },
      { _ = try MixtureDensity(a: UniformDensity(), b: UniformDensity(), share: 1.1) },
      { _ = try BlendDensity(first: UniformDensity(), second: UniformDensity(), startStep: 5, endStep: 5) },
      { _ = try BlendDensity.clts(std: 0) },
      { _ = try BlendDensity.clts(mean: 1e9).state(for: linear).probabilities(at: .max) },
    ] as [@Sendable () throws -> Void])
  func refused(_ make: @Sendable () throws -> Void) {
    #expect(throws: ArgumentError.self, performing: make)
  }
}

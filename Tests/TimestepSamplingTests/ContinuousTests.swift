import NoiseSchedules
import Testing

@testable import TimestepSampling

@Suite("Continuous processes")
struct ContinuousTests {
  static let processes: [ContinuousProcess] = [
    try! ContinuousProcess(.variancePreserving(betaD: 19.9, betaMin: 0.1, epsilonT: 1e-5), sigmaData: 0.5),
    try! ContinuousProcess(.varianceExploding(sigmaMin: 0.02, sigmaMax: 100), sigmaData: 0.5),
    try! ContinuousProcess(.edm(mean: -1.2, std: 1.2), sigmaData: 0.5),
    try! ContinuousProcess(.flow, sigmaData: 1),
  ]

  @Test("Times and noise levels invert each other, and σ̇ is their derivative", arguments: processes)
  func times(_ process: ContinuousProcess) {
    for t in [1e-4, 0.01, 0.3, 0.7, 0.99] {
      let sigma = process.sigma(at: t)
      #expect(abs(process.time(ofLogSigma: Double.log(sigma)) - t) < 1e-12)
      let h = 1e-6 * t
      let slope = (process.sigma(at: t + h) - process.sigma(at: t - h)) / (2 * h)
      #expect(abs(process.sigmaDerivative(at: t) / slope - 1) < 1e-7)
    }
  }

  @Test("Draws have the mass that their distribution says", arguments: processes)
  func masses(_ process: ContinuousProcess) throws {
    let samplings: [any Sampling] = [
      try LaplaceSampling(), try CauchySampling(), try AsymmetricSampling(threshold: .magnitude(10)),
      try MixtureSampling(a: LaplaceSampling(mean: 2), b: LogNormalSampling(), share: 0.3),
      try LogSNRCurveSampling(knots: [-3, -1, 0, 0.5, 6], values: [0, 2, 0, 0, 1]),
      try TruncatedSampling(base: LaplaceSampling(mean: 1), low: 0.1, high: 0.8),
      try TruncatedSampling(
        base: MixtureSampling(a: LaplaceSampling(mean: 2), b: LogNormalSampling(), share: 0.3), low: 0.1, high: 0.8),
      try StagesSampling([(0, CauchySampling()), (1, LaplaceSampling())]),
    ]
    var all = try samplings.map { try $0.levels(in: process, "sampling") }
    for learning in [try AdaptiveSampling(bins: 4), try InfoNoiseSampling(bins: 4, gate: .init())]
      as [any LearningLevelSampling]
    {
      all.append(BinnedLevels(bins: try learning.learner(of: process).bins, probabilities: [0.5, 0, 0.2, 0.3]))
    }
    for levels in all {
      #expect(abs(levels.mass(from: -.infinity, to: .infinity, at: 0) - 1) < 1e-12)
      // The share of a fine sweep of probabilities whose level is below some ln σ.
      let drawn = (0..<20_000).map {
        levels.logSigma(Probability(lower: (Double($0) + 0.5) / 20_000, upper: (19_999.5 - Double($0)) / 20_000), at: 0)
      }
      for x in [-2.0, -0.5, 0, 0.4, 1.3] {
        let share = Double(drawn.count { $0 < x }) / 20_000
        #expect(abs(share - levels.mass(from: -.infinity, to: x, at: 0)) < 2e-4)
      }
    }
  }

  @Test("SpeeD's threshold and rate are those of one magnitude, 1/ᾱ")
  func speed() throws {
    let (edm, flow) = (Self.processes[2], Self.processes[3])
    // Closed forms: σ_τ = σ_data·√(r-1), and for rectified flow t_ad = 0.5, τ = √(r-1)/(1+√(r-1)).
    for (process, r, level) in [(edm, 143.5, 5.97), (edm, 10, 1.5), (flow, 143.5, 0.9227), (flow, 10, 0.75)] {
      let suppressed = try AsymmetricSampling(k: 5, threshold: .magnitude(r)).levels(of: process)
      let base = try process.sampling.levels(of: process)
      let x = process.kind == .flow ? Double.log(level / (1 - level)) : Double.log(level)
      let (below, above) = ((from: x - 0.2, to: x - 0.1), (from: x + 0.1, to: x + 0.2))
      let ratio =
        suppressed.mass(from: below.from, to: below.to, at: 0) / suppressed.mass(from: above.from, to: above.to, at: 0)
      let plain = base.mass(from: below.from, to: below.to, at: 0) / base.mass(from: above.from, to: above.to, at: 0)
      #expect(abs(ratio / plain - 5) < 1e-9)
    }
    #expect(abs(flow.relativeRate()(0) - 1) < 1e-9)
    for process in Self.processes {
      let context = NoiseLevelContext(
        process: process, prediction: .sample, levels: try process.sampling.levels(of: process))
      let weight = try ChangeAwareWeighting(lam: 0.8).noiseLevelWeight(in: context)
      let values = stride(from: -3.5, through: 4.5, by: 0.01).map { weight($0, 0) }
      #expect(values.allSatisfy { $0 >= 0.2 - 1e-12 && $0 <= 0.8 + 1e-12 })
      #expect(values.max()! > 0.8 - 1e-4)
    }
  }

  @Test("Weights to an emphasis give any noise levels that emphasis", arguments: [processes[2], processes[3]])
  func toEmphasis(_ process: ContinuousProcess) throws {
    let options = SamplerOptions(seed: 0)
    let wanted = try SigmaSampler(
      process: process, sampling: LaplaceSampling(scale: 1), weighting: MinSNRWeighting(), options: options
    ).emphasis()
    let given = try SigmaSampler(
      process: process, sampling: LogNormalSampling(mean: 0, std: 3), weighting: ToEmphasisWeighting(of: wanted),
      options: options
    ).emphasis()
    for (level, density) in zip(given.logSNR, given.density) where abs(level) < 6 && abs(level) > 0.1 {
      #expect(abs(density / wanted.density(at: level) - 1) < 2e-3)
    }
  }

  @Test("FDM's bound grows from 5 to 500, and then there is none")
  func warmUp() throws {
    let warmUp = try WeightWarmUp(steps: 200)
    #expect(warmUp.bound(at: 0) == 5)
    #expect(abs(warmUp.bound(at: 100) - 50) < 1e-12)
    #expect(warmUp.bound(at: 199) < 500 && warmUp.bound(at: 200) == .infinity)
  }

  @Test(
    "What does not fit a process is refused",
    arguments: [
      { _ = try ContinuousProcess(.varianceExploding(sigmaMin: 2, sigmaMax: 1), sigmaData: 1) },
      { _ = try ContinuousProcess(.variancePreserving(betaD: 0, betaMin: 1, epsilonT: 0.1), sigmaData: 1) },
      { _ = try ContinuousProcess(.flow, sigmaData: 0) },
      { _ = try LogitNormalSampling().levels(of: processes[2]) },
      { _ = try TruncatedSampling(base: UniformSampling()).levels(in: processes[3], "sampling") },
      { _ = try AsymmetricSampling(threshold: .step(700)).levels(of: processes[2]) },
      { _ = try AsymmetricSampling(threshold: .magnitude(1e300)).levels(of: processes[1]) },
      { _ = try ShiftedSampling(base: UniformSampling()).levels(of: processes[0]) },
      {
        _ = try SigmaSampler(process: processes[3], weighting: ImportanceWeighting(), options: SamplerOptions(seed: 0))
      },
      { _ = try SigmaSampler(process: processes[2], weighting: SigmoidWeighting(), options: SamplerOptions(seed: 0)) },
      {
        _ = try SigmaSampler(process: processes[3], weighting: ToEmphasisWeighting(), options: SamplerOptions(seed: 0))
      },
      { _ = try WeightWarmUp(steps: 0) }, { _ = try FastDiffusionModel(sigmaMin: 1, sigmaMax: 1) },
    ] as [@Sendable () throws -> Void])
  func refused(_ make: @Sendable () throws -> Void) {
    #expect(throws: ArgumentError.self, performing: make)
  }
}

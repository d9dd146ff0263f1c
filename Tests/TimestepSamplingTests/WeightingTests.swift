import NoiseSchedules
import Testing

@testable import TimestepSampling

@Suite("Weightings")
struct WeightingTests {
  static let weightings: [any SNRWeighting] = [
    try! P2Weighting(k: 0.7, gamma: 1.3), try! MinSNRWeighting(), try! SoftMinSNRWeighting(), try! MaxSNRWeighting(),
    SNRProportionalWeighting(), InverseSNRWeighting(), TruncatedSNRWeighting(), DebiasedWeighting(),
    try! EDMWeighting(), SigmaSqrtWeighting(), CosMapWeighting(),
  ]

  @Test("The forms of a weighting are one objective", arguments: weightings)
  func forms(_ weighting: any SNRWeighting) {
    for exponent in stride(from: -20.0, through: 20, by: 0.37) {
      let snr = Double.exp(exponent)
      let epsilon = weighting.weight(snr: snr, prediction: .epsilon)
      let sample = weighting.weight(snr: snr, prediction: .sample)
      let root = 1 + snr.squareRoot()
      #expect(abs(snr * epsilon / sample - 1) < 1e-13)
      #expect(abs(weighting.weight(snr: snr, prediction: .v) * (snr + 1) / sample - 1) < 1e-13)
      #expect(abs(weighting.weight(snr: snr, prediction: .flow) * root * root / sample - 1) < 1e-13)
      for target in PredictionTarget.allCases {
        let back = target.epsilonWeight(weighting.weight(snr: snr, prediction: target), snr: snr)
        #expect(abs(back / epsilon - 1) < 1e-13)
      }
    }
  }

  @Test("At S = 0 a form has its limit, or is an error that names the step")
  func zeroTerminalSNR() throws {
    let schedule = try NoiseSchedule.linear(steps: 1000).zeroTerminalSNR()
    #expect(try MinSNRWeighting().weights(for: schedule, prediction: .epsilon)[999] == 1)
    #expect(try MinSNRWeighting().weights(for: schedule, prediction: .v)[999] == 0)
    #expect(try EDMWeighting().weights(for: schedule, prediction: .v)[999] == 4)
    for weighting in [DebiasedWeighting(), InverseSNRWeighting()] as [any SNRWeighting] {
      #expect {
        try weighting.weights(for: schedule, prediction: .epsilon)
      } throws: {
        "\($0)".contains("index 999 (t = 1000)")
      }
    }
    #expect(throws: ArgumentError.self) { try SigmoidWeighting().weights(for: schedule, prediction: .v) }
    #expect(throws: ArgumentError.self) { try MinSNRWeighting().weights(for: schedule, prediction: nil) }
  }

  @Test("Weights to an emphasis give any sampling that emphasis")
  func toEmphasis() throws {
    let schedule = try NoiseSchedule.cosine(steps: 500)
    let target = try TimestepSampler(
      schedule: schedule, sampling: LaplaceSampling(scale: 1), weighting: MinSNRWeighting(),
      options: SamplerOptions(seed: 0, prediction: .v))
    let emphasis = try target.emphasis()
    let other = try TimestepSampler(
      schedule: schedule, sampling: AsymmetricSampling(threshold: .step(300)),
      weighting: ToEmphasisWeighting(of: emphasis), options: SamplerOptions(seed: 0, prediction: .sample))
    for (a, b) in zip(emphasis.density, try other.emphasis().density) { #expect(abs(a - b) <= 1e-12 * max(1, a)) }
    let partial = try TruncatedSampling(base: UniformSampling(), end: 250)
    #expect(throws: ArgumentError.self) {
      try TimestepSampler(
        schedule: schedule, sampling: partial, weighting: ToEmphasisWeighting(of: emphasis),
        options: SamplerOptions(seed: 0, prediction: .v))
    }
  }
}

import NoiseSchedules
import Testing

@testable import TimestepSampling

@Suite("Tables of moved densities")
struct MoveTableTests {
  static let processes = Array(ContinuousTests.processes[..<2])
  /// No move, hardly one, those of trainers, and beyond what the table has.
  static let factors: [Double] = [
    1, 1 - 0x1p-52, 1 + 0x1p-52, 1 - 1e-9, 1 + 1e-9, 1 + 1e-5, 0.9, 1.1249, 1.125, 1.5, 2, 2.5, 3, 6.93, 0.5, 0.3, 0.1,
    15.9, 16, 50, 1 / 50.0, 1 / 64.0, 63.9, 65, 0.015,
  ]

  /// One number in each 4096th of [0, 1).
  static let fractions = (0..<4096).map { UInt64($0) << 52 | (UInt64($0) &* 0x9E37_79B9_7F4A_7C15) >> 12 }

  private static func samplings() throws -> [(any Sampling, share: Double)] {
    // Of the curve's draws more are beside its knots, and of the narrow densities' more are in a tail. What leaves a beta
    // density of exponent 1.5 has no table for a just below 1.
    [
      (UniformSampling(), 0.001), (try BetaSampling(alpha: 1.5, beta: 2), 0.2),
      (try TruncatedSampling(base: UniformSampling(), low: 0.1, high: 0.8), 0.2),
      (try AsymmetricSampling(threshold: .magnitude(10)), 0.2), (try LaplaceSampling(mean: 2, scale: 3), 0.1),
      (try LaplaceSampling(), 0.3), (try CauchySampling(mean: 1, scale: 2), 0.1),
      (try LogNormalSampling(mean: -1.2, std: 1.2), 0.1),
      (try LogSNRCurveSampling(knots: [-3, -1, 0, 0.5, 6], values: [1, 2, 1, 1, 1]), 0.6),
    ]
  }

  private static func table(of levels: any NoiseLevels, _ process: ContinuousProcess) throws -> MoveTable {
    let own = NoiseLevelTable(levels: levels, weight: nil)
    return try #require(MoveTable(levels: levels, sigma: own.sigma, process: process))
  }

  /// σ by the table of 64 numbers that are all moved alike.
  private static func draw(_ table: MoveTable, _ fractions: [UInt64], movedBy factor: Double) -> [Double] {
    let factors = [Double](repeating: factor, count: fractions.count)
    var sigma = factors
    var scratch = fractions
    fractions.withUnsafeBufferPointer { table.store($0, factors: factors, into: &sigma, scratch: &scratch) }
    return sigma
  }

  @Test("They give the quantiles of the moved density itself, to less than a Float's rounding", arguments: processes)
  func quantiles(_ process: ContinuousProcess) throws {
    for (sampling, most) in try Self.samplings() {
      let levels = try sampling.levels(in: process, "sampling")
      let table = try Self.table(of: levels, process)
      let fractions = Self.fractions
      var missing = 0
      for factor in Self.factors {
        guard let moved = try? levels.moved(by: Double.log(factor), at: 0, in: process, "shift") else { continue }
        let exact = factor == 1 ? levels : moved
        for (fraction, sigma) in zip(fractions, Self.draw(table, fractions, movedBy: factor)) {
          guard !sigma.isNaN else {
            if factor > 1 / 16.0, factor < 16 { missing += 1 }
            continue
          }
          let expected = NoiseLevel(exact.logSigma(Probability(fraction: fraction), at: 0)).sigma
          #expect(abs(sigma / expected - 1) < 0x1p-27, "\(sampling) of \(process.kind), \(factor), \(fraction)")
        }
      }
      #expect(Double(missing) < most * 17 * 4096, "\(sampling) of \(process.kind): \(missing)")
    }
  }

  @Test("An entry that is not moved has the bits of its own table", arguments: processes)
  func unmoved(_ process: ContinuousProcess) throws {
    for (sampling, _) in try Self.samplings() {
      let levels = try sampling.levels(in: process, "sampling")
      let own = NoiseLevelTable(levels: levels, weight: nil)
      let table = try #require(MoveTable(levels: levels, sigma: own.sigma, process: process))
      let fractions = Self.fractions
      let drawn = Self.draw(table, fractions, movedBy: 1)
      own.sigma.withLookup { lookup in
        for (fraction, sigma) in zip(fractions, drawn) {
          let isUpper = fraction >> 63
          let expected = lookup.value(at: Double(isUpper == 0 ? fraction : ~fraction), of: isUpper)
          #expect(sigma.isNaN ? expected.isNaN : sigma == expected, "\(sampling) of \(process.kind), \(fraction)")
        }
      }
    }
  }

  @Test("A mixture, whose parts are moved apart, and a blend have none")
  func mixtures() throws {
    let parts = (try LaplaceSampling(mean: 2), try LaplaceSampling(mean: -2))
    for process in Self.processes {
      let samplings: [any Sampling] = [
        try MixtureSampling(a: parts.0, b: parts.1, share: 0.3),
        try BlendSampling(first: parts.0, second: parts.1, startStep: 10, endStep: 20),
      ]
      for sampling in samplings {
        let levels = try sampling.levels(in: process, "sampling")
        let own = NoiseLevelTable(levels: levels, weight: nil)
        #expect(MoveTable(levels: levels, sigma: own.sigma, process: process) == nil)
      }
    }
  }
}

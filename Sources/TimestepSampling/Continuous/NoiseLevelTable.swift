import NoiseSchedules

/// The noise-to-signal ratios of a process by their probability, and their weights, as tables.
///
/// A draw then costs a few multiplications, whatever the density and the weighting. What the tables leave out, 2⁻¹³ of the
/// draws and what lies beside kinks, comes from the functions themselves.
struct NoiseLevelTable: Sendable {
  /// σ by the distance of a 64-bit fraction from its nearer end, 2⁶⁴·p: for the lower half, and for the upper one.
  let sigma: OctaveTable
  /// w by σ; nil for weights that may change within a piece or over training.
  let weight: OctaveTable?

  /// The octaves of 2⁶⁴·p: 2⁻¹⁴ to ½.
  static let probabilities = 50..<63
  /// Those of σ; more than that is rare, even after a shift.
  private static let levels = -24..<24

  /// The same quantiles without weights.
  var withoutWeight: NoiseLevelTable { NoiseLevelTable(sigma: sigma, weight: nil) }

  private init(sigma: OctaveTable, weight: OctaveTable?) { (self.sigma, self.weight) = (sigma, weight) }

  /// Tabulates levels that never change.
  init(levels: any NoiseLevels, weight: NoiseLevelWeight?) {
    sigma = OctaveTable(octaves: Self.probabilities, of: Self.quantiles(of: levels))
    self.weight = weight.map { weight in OctaveTable(octaves: Self.levels, of: [{ weight(Double.log($0), 0) }]) }
  }
}

extension NoiseLevelTable {
  /// σ by 2⁶⁴·p, the distance from the lower end, and by that from the upper one.
  static func quantiles(of levels: any NoiseLevels) -> [(Double) -> Double] {
    func sigma(_ p: Probability) -> Double { NoiseLevel(levels.logSigma(p, at: 0)).sigma }
    return [
      { sigma(Probability(lower: $0 * 0x1p-64, upper: 1 - $0 * 0x1p-64)) },
      { sigma(Probability(lower: 1 - $0 * 0x1p-64, upper: $0 * 0x1p-64)) },
    ]
  }
}

/// A noise level within the range of σ as a Float, and of S as a Double.
struct NoiseLevel {
  /// The noise-to-signal ratio.
  let sigma: Double
  /// Its logarithm.
  let logSigma: Double

  private static let range = -87.0...88.0

  /// The smallest σ.
  static let smallest = Double.exp(range.lowerBound)
  /// The largest σ.
  static let largest = Double.exp(range.upperBound)

  /// The level at ln σ, or the nearest one; heavy tails go beyond the range.
  init(_ logSigma: Double) {
    self.logSigma = min(Self.range.upperBound, max(Self.range.lowerBound, logSigma))
    sigma = Double.exp(self.logSigma)
  }
}

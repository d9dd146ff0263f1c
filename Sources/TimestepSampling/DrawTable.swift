import NoiseSchedules

/// P and w for a range of training steps, and the tables that a draw looks them up in. It is immutable.
final class DrawTable: Sendable {
  /// The training steps that it is for.
  let trainingSteps: ClosedRange<UInt64>
  /// P, shape (T,).
  let probabilities: [Double]
  /// w, shape (T,); with `normalize`, divided by its mean under P.
  let weights: [Double]
  /// The mean weight of a drawn entry, and of a dual one, before normalization.
  let meanWeight: Double
  private let meanDualWeight: Double

  let inverseCDF: InverseCDF
  let singleWeights: [Float]

  private let pairing: DualPairing?
  private let normalize: Bool

  /// Checks the methods' tables, which are read without bounds checks from here on.
  init(
    trainingSteps: ClosedRange<UInt64>, probabilities: [Double], weights: [Double], schedule: NoiseSchedule,
    pairing: DualPairing?, normalize: Bool
  ) throws {
    try Self.check(probabilities, of: "sampling", for: schedule)
    try Self.check(weights, of: "weighting", for: schedule)
    let sum = compensatedSum(probabilities)
    guard abs(sum - 1) < 1e-9 else { throw ArgumentError("sampling", "must have probabilities with sum 1", got: sum) }
    let meanWeight = dot(probabilities, weights)
    guard !normalize || (meanWeight > 0 && meanWeight.isFinite) else {
      throw ArgumentError(
        "normalize", "must be false unless the mean weight is finite and above 0", got: "a mean of \(meanWeight)")
    }
    self.trainingSteps = trainingSteps
    self.probabilities = probabilities
    self.weights = normalize ? weights.map { min($0 / meanWeight, .greatestFiniteMagnitude) } : weights
    self.meanWeight = meanWeight
    self.pairing = pairing
    self.normalize = normalize
    meanDualWeight = pairing.map { dot($0.dualProbabilities(probabilities), weights) } ?? meanWeight
    inverseCDF = InverseCDF(probabilities)
    // A weight too large for a Float becomes the largest finite one.
    singleWeights = self.weights.map { Float(min($0, Double(Float.greatestFiniteMagnitude))) }
  }

  /// The exact distribution of an entry of a call's batch.
  func marginal(count: Int) -> [Double] {
    guard let pairing else { return probabilities }
    let share = pairing.dualShare(of: count)
    return zip(probabilities, pairing.dualProbabilities(probabilities)).map { (1 - share) * $0 + share * $1 }
  }

  /// The mean weight over a call's batch, before normalization.
  func meanWeight(count: Int) -> Double {
    guard let pairing else { return meanWeight }
    let share = pairing.dualShare(of: count)
    return (1 - share) * meanWeight + share * meanDualWeight
  }

  /// The factor that `weights` still need in a call's batch of `count` ≥ 1 entries: 1, unless pairs are normalized.
  func batchScale(count: Int) -> Float {
    normalize && pairing != nil ? Float(meanWeight / meanWeight(count: count)) : 1
  }

  private static func check(_ table: [Double], of argument: String, for schedule: NoiseSchedule) throws {
    guard table.count == schedule.steps else {
      throw ArgumentError(argument, "must give a value for each of the \(schedule.steps) steps", got: table.count)
    }
    if let i = table.firstIndex(where: { !($0 >= 0 && $0.isFinite) }) {
      throw ArgumentError(argument, "must give finite values of at least 0", got: "\(table[i]) for index \(i)")
    }
  }
}

private func dot(_ a: [Double], _ b: [Double]) -> Double {
  zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }
}

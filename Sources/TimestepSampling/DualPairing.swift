import NoiseSchedules

/// The paired draws of the released SpeeD code.
///
/// Of the n entries of a call, the first n÷2+1 are drawn from P. The others are the duals |m-t| of the first ones, in
/// order, cut to n. The dual map is not in the paper. With it, the marginal distribution of a batch
/// differs from P and depends on n.
///
/// Pairs never leave a call: each rank and each micro-batch has its own, as each process of the released code has. Pairs
/// over the global batch would give low ranks Eq. 2 and high ranks duals alone.
///
/// Source: NUS-HPC-AI-Lab/SpeeD at f5650f9, `t_sample`.
public struct DualPairing: Sendable, Equatable {
  /// m: the first step at which √(1-ᾱ) grows by less than 10⁻⁴, plus 1. As in their code, whatever T is.
  public let center: Int

  /// Finds m for a schedule.
  ///
  /// - Throws: `ArgumentError` if m is T: then the dual of step 0 would lie outside the schedule, where the released code
  ///   reads past its tables.
  public init(for schedule: NoiseSchedule) throws {
    let flat = gradient(schedule.sqrtOneMinusAlphasCumprod).firstIndex { $0 < 1e-4 }
    // NumPy's argmax of a table without a True is 0.
    center = (flat ?? 0) + 1
    guard center < schedule.steps else {
      throw ArgumentError(
        "preset",
        "must be paper for this schedule, where official would pair step 0 with step \(center), past the last one",
        got: "official")
    }
  }

  /// How many entries of a call's batch of `count` are drawn; the others are duals.
  public func primaryCount(of count: Int) -> Int { min(count, count / 2 + 1) }

  /// The part of a call's batch of `count` ≥ 1 entries that is duals.
  func dualShare(of count: Int) -> Double { Double(count - primaryCount(of: count)) / Double(count) }

  /// |m-t|.
  public func dual(_ timestep: Int) -> Int { abs(center - timestep) }

  /// The distribution of the duals of steps that are drawn from `probabilities`.
  func dualProbabilities(_ probabilities: [Double]) -> [Double] {
    var result = [Double](repeating: 0, count: probabilities.count)
    for (timestep, p) in probabilities.enumerated() { result[dual(timestep)] += p }
    return result
  }
}

import NoiseSchedules

/// 1/(T·P): whatever is drawn, the objective is that of uniform draws. SpeeD omits it on purpose.
public struct ImportanceWeighting: ChangingWeighting {
  /// Makes the weighting.
  public init() {}

  /// A factor that follows P.
  public func state(for schedule: NoiseSchedule, prediction: PredictionTarget?) -> any WeightingState {
    ImportanceState()
  }
}

private struct ImportanceState: WeightingState {
  let dividesByProbability = true

  func weights(under probabilities: [Double]) -> [Double] { importanceFactors(of: probabilities) }
}

/// 1/(T·P_i), and 0 where P_i = 0: such a step is never drawn.
func importanceFactors(of probabilities: [Double]) -> [Double] {
  let steps = Double(probabilities.count)
  return probabilities.map { $0 > 0 ? min(1 / (steps * $0), .greatestFiniteMagnitude) : 0 }
}

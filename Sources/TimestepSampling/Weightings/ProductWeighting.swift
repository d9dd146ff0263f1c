import NoiseSchedules

/// The product of two weightings, w = w_a·w_b, each in its form for the sampler's target.
///
/// A weighting that takes the same factor for every target (uniform, change-aware) may be multiplied with any other. The
/// product of two functions of S is the same objective for every target only if it is written for one.
public struct ProductWeighting: ChangingWeighting {
  /// One factor.
  public let a: any Weighting
  /// The other factor.
  public let b: any Weighting
  /// Both factors' parts and itself.
  public let parts: Int

  /// Makes the product.
  ///
  /// - Throws: `ArgumentError` if it would be made of more than 256 weightings.
  public init(_ a: any Weighting, _ b: any Weighting) throws {
    parts = try combinedParts("a", a.parts, b.parts)
    self.a = a
    self.b = b
  }

  /// Both factors.
  public func state(for schedule: NoiseSchedule, prediction: PredictionTarget?) throws -> any WeightingState {
    try ProductState(
      a: a.state(for: schedule, prediction: prediction), b: b.state(for: schedule, prediction: prediction))
  }
}

private struct ProductState: WeightingState {
  var a: any WeightingState
  var b: any WeightingState

  func weights(under probabilities: [Double]) throws -> [Double] {
    try zip(a.weights(under: probabilities), b.weights(under: probabilities)).map { $0 * $1 }
  }

  var dividesByProbability: Bool { a.dividesByProbability || b.dividesByProbability }
  var history: [Double] { a.history + b.history }
  var historyCount: Int { a.historyCount + b.historyCount }

  mutating func update(_ batch: LossBatch) throws {
    // Each sees the other as it was before the update.
    let weights = try (a.weights(under: batch.probabilities), b.weights(under: batch.probabilities))
    try a.update(batch.multiplied(by: weights.1))
    try b.update(batch.multiplied(by: weights.0))
  }

  mutating func restore(_ history: inout HistoryReader) throws {
    try a.restore(&history)
    try b.restore(&history)
  }
}

import NoiseSchedules

/// 1/w of another weighting, for the sampler's target: divides out a weight that the pipeline's loss already has.
public struct ReciprocalWeighting: Weighting {
  /// The other weighting.
  public let base: any Weighting
  /// The other weighting's parts and itself.
  public let parts: Int

  /// Makes the reciprocal.
  ///
  /// - Throws: `ArgumentError` if `base` depends on P or losses, or is made of too many weightings.
  public init(of base: any Weighting) throws {
    guard !Self.changes(base) else { throw ArgumentError("of", "must not depend on P or losses", got: "one that does") }
    parts = try combinedParts("of", base.parts)
    self.base = base
  }

  /// 1/w.
  public func weights(for schedule: NoiseSchedule, prediction: PredictionTarget?) throws -> [Double] {
    try base.weights(for: schedule, prediction: prediction).map { 1 / $0 }
  }

  private static func changes(_ weighting: any Weighting) -> Bool {
    guard let product = weighting as? ProductWeighting else { return weighting is any ChangingWeighting }
    return changes(product.a) || changes(product.b)
  }
}

extension ReciprocalWeighting: NoiseLevelWeighting {
  func weight(in context: NoiseLevelContext) throws -> NoiseLevelWeight {
    let weight = try base.noiseLevelWeight(in: context)
    return { 1 / weight($0, $1) }
  }

  var isTabulated: Bool { base.isTabulatedForLevels }
}

import CSpeeDiff
import NoiseSchedules
import TimestepSampling

typealias WeightingHandle = Handle<any Weighting>

/// The weightings that have a name, a line each.
private let weightings = MethodCatalogue<any Weighting>([
  .init("uniform") { _ in UniformWeighting() },
  .init("change_aware", [0.6]) { try ChangeAwareWeighting(lam: $0[0]) },
  .init("p2", [1, 1]) { try P2Weighting(k: $0[0], gamma: $0[1]) },
  .init("min_snr", [5]) { try MinSNRWeighting(gamma: $0[0]) },
  .init("soft_min_snr", [5]) { try SoftMinSNRWeighting(gamma: $0[0]) },
  .init("debiased") { _ in DebiasedWeighting() },
  .init("snr") { _ in SNRProportionalWeighting() },
  .init("inverse_snr") { _ in InverseSNRWeighting() },
  .init("max_snr", [5]) { try MaxSNRWeighting(gamma: $0[0]) },
  .init("truncated_snr") { _ in TruncatedSNRWeighting() },
  .init("sigmoid", [2]) { try SigmoidWeighting(bias: $0[0]) },
  .init("edm", [0.5]) { try EDMWeighting(sigmaData: $0[0]) },
  .init("sigma_sqrt") { _ in SigmaSqrtWeighting() },
  .init("cosmap") { _ in CosMapWeighting() },
  .init("importance") { _ in ImportanceWeighting() },
  .init("uncertainty", [100, 0.999]) { try UncertaintyWeighting(bins: integer("bins", $0[0]), decay: $0[1]) },
])

/// Makes a weighting by its name.
@_cdecl("speediff_weighting_create") @implementation
public func speediff_weighting_create(
  _ name: UnsafePointer<CChar>!, _ parameters: UnsafePointer<Double>!, _ count: Int64,
  _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus { try WeightingHandle.create(out) { try weightings.make(name, parameters, count) } }
}

/// Makes `ProductWeighting`.
@_cdecl("speediff_weighting_create_product") @implementation
public func speediff_weighting_create_product(
  _ a: OpaquePointer!, _ b: OpaquePointer!, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try WeightingHandle.create(out) {
      try ProductWeighting(WeightingHandle.value(a, "a"), WeightingHandle.value(b, "b"))
    }
  }
}

/// Makes `ReciprocalWeighting`.
@_cdecl("speediff_weighting_create_reciprocal") @implementation
public func speediff_weighting_create_reciprocal(
  _ of: OpaquePointer!, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try WeightingHandle.create(out) { try ReciprocalWeighting(of: WeightingHandle.value(of, "of")) }
  }
}

/// Makes `ToEmphasisWeighting`.
@_cdecl("speediff_weighting_create_to_emphasis") @implementation
public func speediff_weighting_create_to_emphasis(
  _ log_snr: UnsafePointer<Double>!, _ emphasis: UnsafePointer<Double>!, _ count: Int64,
  _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try WeightingHandle.create(out) {
      guard count != 0 else { return ToEmphasisWeighting() }
      return try ToEmphasisWeighting(
        of: Emphasis(
          logSNR: array(log_snr, count, "log_snr"), density: array(emphasis, count, "emphasis")))
    }
  }
}

/// Lists the names.
@_cdecl("speediff_weighting_names") @implementation
public func speediff_weighting_names() -> UnsafePointer<CChar>! { weightings.names }

/// Frees a weighting.
@_cdecl("speediff_weighting_destroy") @implementation
public func speediff_weighting_destroy(_ weighting: OpaquePointer!) {
  WeightingHandle.destroy(weighting)
}

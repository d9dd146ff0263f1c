import CSpeeDiff
import NoiseSchedules
import TimestepSampling

typealias SamplingHandle = Handle<any TimestepDensity>

/// The samplings that have a name, a line each.
private let samplings = MethodCatalogue<any TimestepDensity>([
  .init("uniform") { _ in UniformDensity() },
  .init("asymmetric", [5, 143.5]) { try AsymmetricDensity(k: $0[0], threshold: .magnitude($0[1])) },
  .init("log_normal", [-1.2, 1.2]) { try LogNormalDensity(mean: $0[0], std: $0[1]) },
  .init("logit_normal", [0, 1]) { try LogitNormalDensity(mean: $0[0], std: $0[1]) },
  .init("mode", [1.29]) { try ModeDensity(scale: $0[0]) },
  .init("cosmap") { _ in CosMapDensity() },
  .init("beta", [0.8, 1]) { try BetaDensity(alpha: $0[0], beta: $0[1]) },
  .init("clts", [.nan, .nan, 50_000]) {
    try BlendDensity.clts(mean: optional($0[0]), std: optional($0[1]), endStep: integer("end_step", $0[2]))
  },
  .init("laplace", [0, 0.5]) { try LaplaceDensity(mean: $0[0], scale: $0[1]) },
  .init("cauchy", [0, 1]) { try CauchyDensity(mean: $0[0], scale: $0[1]) },
  .init("loss_second_moment", [10, 0.001]) {
    try LossSecondMomentDensity(history: integer("history", $0[0]), uniformProb: $0[1])
  },
  .init("adaptive", [100, 0.999]) { try AdaptiveDensity(bins: integer("bins", $0[0]), decay: $0[1]) },
])

/// Makes a sampling by its name.
@_cdecl("speediff_sampling_create") @implementation
public func speediff_sampling_create(
  _ name: UnsafePointer<CChar>!, _ parameters: UnsafePointer<Double>!, _ count: Int64,
  _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus { try SamplingHandle.create(out) { try samplings.make(name, parameters, count) } }
}

/// Makes `AsymmetricDensity` with τ given.
@_cdecl("speediff_sampling_create_asymmetric") @implementation
public func speediff_sampling_create_asymmetric(
  _ k: Double, _ tau: Int64, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus { try SamplingHandle.create(out) { try AsymmetricDensity(k: k, threshold: .step(Int(tau))) } }
}

/// Makes `ShiftedDensity`.
@_cdecl("speediff_sampling_create_shifted") @implementation
public func speediff_sampling_create_shifted(
  _ base: OpaquePointer!, _ shift: Double, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try SamplingHandle.create(out) { try ShiftedDensity(base: SamplingHandle.value(base, "base"), shift: shift) }
  }
}

/// Makes `TruncatedDensity`.
@_cdecl("speediff_sampling_create_truncated") @implementation
public func speediff_sampling_create_truncated(
  _ base: OpaquePointer!, _ start: Int64, _ end: Int64, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try SamplingHandle.create(out) {
      try TruncatedDensity(
        base: SamplingHandle.value(base, "base"), start: Int(start), end: end == .max ? nil : Int(end))
    }
  }
}

/// Makes `MixtureDensity`.
@_cdecl("speediff_sampling_create_mixture") @implementation
public func speediff_sampling_create_mixture(
  _ a: OpaquePointer!, _ b: OpaquePointer!, _ share: Double, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try SamplingHandle.create(out) {
      try MixtureDensity(a: SamplingHandle.value(a, "a"), b: SamplingHandle.value(b, "b"), share: share)
    }
  }
}

/// Makes `BlendDensity`.
@_cdecl("speediff_sampling_create_blend") @implementation
public func speediff_sampling_create_blend(
  _ first: OpaquePointer!, _ second: OpaquePointer!, _ start_step: Int64, _ end_step: Int64,
  _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try SamplingHandle.create(out) {
      try BlendDensity(
        first: SamplingHandle.value(first, "first"), second: SamplingHandle.value(second, "second"),
        startStep: Int(start_step), endStep: Int(end_step))
    }
  }
}

/// Lists the names.
@_cdecl("speediff_sampling_names") @implementation
public func speediff_sampling_names() -> UnsafePointer<CChar>! { samplings.names }

/// Frees a sampling.
@_cdecl("speediff_sampling_destroy") @implementation
public func speediff_sampling_destroy(_ sampling: OpaquePointer!) {
  SamplingHandle.destroy(sampling)
}

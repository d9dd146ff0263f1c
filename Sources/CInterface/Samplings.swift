import CSpeeDiff
import NoiseSchedules
import TimestepSampling

typealias SamplingHandle = Handle<any Sampling>

/// The samplings that have a name, a line each.
private let samplings = MethodCatalogue<any Sampling>([
  .init("uniform") { _ in UniformSampling() },
  .init("asymmetric", [5, 143.5]) { try AsymmetricSampling(k: $0[0], threshold: .magnitude($0[1])) },
  .init("log_normal", [-1.2, 1.2]) { try LogNormalSampling(mean: $0[0], std: $0[1]) },
  .init("logit_normal", [0, 1]) { try LogitNormalSampling(mean: $0[0], std: $0[1]) },
  .init("mode", [1.29]) { try ModeSampling(scale: $0[0]) },
  .init("cosmap") { _ in CosMapSampling() },
  .init("beta", [0.8, 1]) { try BetaSampling(alpha: $0[0], beta: $0[1]) },
  .init("clts", [.nan, .nan, 50_000]) {
    try BlendSampling.clts(mean: optional($0[0]), std: optional($0[1]), endStep: integer("end_step", $0[2]))
  },
  .init("laplace", [0, 0.5]) { try LaplaceSampling(mean: $0[0], scale: $0[1]) },
  .init("cauchy", [0, 1]) { try CauchySampling(mean: $0[0], scale: $0[1]) },
  .init("loss_second_moment", [10, 0.001]) {
    try LossSecondMomentSampling(history: integer("history", $0[0]), uniformProb: $0[1])
  },
  .init("adaptive", [100, 0.999]) { try AdaptiveSampling(bins: integer("bins", $0[0]), decay: $0[1]) },
])

/// Makes a sampling by its name.
@_cdecl("speediff_sampling_create") @implementation
public func speediff_sampling_create(
  _ name: UnsafePointer<CChar>!, _ parameters: UnsafePointer<Double>!, _ count: Int64,
  _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus { try SamplingHandle.create(out) { try samplings.make(name, parameters, count) } }
}

/// Makes `AsymmetricSampling` with τ given.
@_cdecl("speediff_sampling_create_asymmetric") @implementation
public func speediff_sampling_create_asymmetric(
  _ k: Double, _ tau: Int64, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus { try SamplingHandle.create(out) { try AsymmetricSampling(k: k, threshold: .step(Int(tau))) } }
}

/// Makes `ShiftedSampling`.
@_cdecl("speediff_sampling_create_shifted") @implementation
public func speediff_sampling_create_shifted(
  _ base: OpaquePointer!, _ shift: Double, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try SamplingHandle.create(out) { try ShiftedSampling(base: SamplingHandle.value(base, "base"), shift: shift) }
  }
}

/// Makes `TruncatedSampling`.
@_cdecl("speediff_sampling_create_truncated") @implementation
public func speediff_sampling_create_truncated(
  _ base: OpaquePointer!, _ start: Int64, _ end: Int64, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try SamplingHandle.create(out) {
      try TruncatedSampling(
        base: SamplingHandle.value(base, "base"), start: Int(start), end: end == .max ? nil : Int(end))
    }
  }
}

/// Makes `MixtureSampling`.
@_cdecl("speediff_sampling_create_mixture") @implementation
public func speediff_sampling_create_mixture(
  _ a: OpaquePointer!, _ b: OpaquePointer!, _ share: Double, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try SamplingHandle.create(out) {
      try MixtureSampling(a: SamplingHandle.value(a, "a"), b: SamplingHandle.value(b, "b"), share: share)
    }
  }
}

/// Makes `BlendSampling`.
@_cdecl("speediff_sampling_create_blend") @implementation
public func speediff_sampling_create_blend(
  _ first: OpaquePointer!, _ second: OpaquePointer!, _ start_step: Int64, _ end_step: Int64,
  _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try SamplingHandle.create(out) {
      try BlendSampling(
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

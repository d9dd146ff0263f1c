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
  .init("beta", [0.8, 1, 0, 1]) { try BetaSampling(alpha: $0[0], beta: $0[1], low: $0[2], high: $0[3]) },
  .init("clts", [.nan, .nan, 50_000]) {
    try BlendSampling.clts(mean: optional($0[0]), std: optional($0[1]), endStep: integer("end_step", $0[2]))
  },
  .init("noise_to_detail", [1, 1, 50_000]) {
    try BlendSampling.noiseToDetail(mean: $0[0], scale: $0[1], endStep: integer("end_step", $0[2]))
  },
  .init("laplace", [0, 0.5]) { try LaplaceSampling(mean: $0[0], scale: $0[1]) },
  .init("cauchy", [0, 1]) { try CauchySampling(mean: $0[0], scale: $0[1]) },
  .init("loss_second_moment", [10, 0.001]) {
    try LossSecondMomentSampling(history: integer("history", $0[0]), uniformProb: $0[1])
  },
  .init("adaptive", [100, 0.999]) { try AdaptiveSampling(bins: integer("bins", $0[0]), decay: $0[1]) },
  .init("info_noise", [100, 0.999, .nan, 3, 0.002, 10]) {
    try InfoNoiseSampling(
      bins: integer("bins", $0[0]), decay: $0[1],
      gate: InfoNoiseSampling.Gate(c: optional($0[2]), order: $0[3], threshold: $0[4]),
      warmUp: integer("warm_up", $0[5]))
  },
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

/// Makes `TruncatedSampling` for a continuous process.
@_cdecl("speediff_sampling_create_truncated_levels") @implementation
public func speediff_sampling_create_truncated_levels(
  _ base: OpaquePointer!, _ low: Double, _ high: Double, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try SamplingHandle.create(out) {
      try TruncatedSampling(base: SamplingHandle.value(base, "base"), low: low, high: high)
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

/// Makes `StagesSampling`.
@_cdecl("speediff_sampling_create_stages") @implementation
public func speediff_sampling_create_stages(
  _ start_steps: UnsafePointer<Int64>!, _ samplings: UnsafePointer<OpaquePointer?>!, _ count: Int64,
  _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try SamplingHandle.create(out) {
      guard count > 0 else { return try StagesSampling([]) }
      let (starts, samplings) = try (
        array(start_steps, count, "start_steps"), array(samplings, count, "samplings")
      )
      return try StagesSampling(
        zip(starts, samplings).enumerated().map { i, stage in
          (Int(stage.0), try SamplingHandle.value(stage.1, "samplings[\(i)]"))
        })
    }
  }
}

/// Makes a sampling from a table.
@_cdecl("speediff_sampling_create_table") @implementation
public func speediff_sampling_create_table(
  _ axis: speediff_table_axis, _ knots: UnsafePointer<Double>!, _ values: UnsafePointer<Double>!, _ count: Int64,
  _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try SamplingHandle.create(out) {
      let values = try array(values, count, "values")
      switch axis {
      case SPEEDIFF_TABLE_AXIS_STEPS: return try StepTableSampling(values: values)
      case SPEEDIFF_TABLE_AXIS_U: return try UnitCurveSampling(knots: array(knots, count, "knots"), values: values)
      case SPEEDIFF_TABLE_AXIS_LOG_SNR:
        return try LogSNRCurveSampling(knots: array(knots, count, "knots"), values: values)
      default: throw unknownAxis(axis)
      }
    }
  }
}

/// The error for a number that is no axis.
func unknownAxis(_ axis: speediff_table_axis) -> ArgumentError {
  ArgumentError("axis", "must be a value of speediff_table_axis", got: axis.rawValue)
}

/// Lists the names.
@_cdecl("speediff_sampling_names") @implementation
public func speediff_sampling_names() -> UnsafePointer<CChar>! { samplings.names }

/// Frees a sampling.
@_cdecl("speediff_sampling_destroy") @implementation
public func speediff_sampling_destroy(_ sampling: OpaquePointer!) {
  SamplingHandle.destroy(sampling)
}

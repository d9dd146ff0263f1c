import CSpeeDiff
import NoiseSchedules
import TimestepSampling

typealias SamplerHandle = Handle<TimestepSampler>

/// Combines a schedule, a sampling and a weighting.
@_cdecl("speediff_sampler_create") @implementation
public func speediff_sampler_create(
  _ schedule: OpaquePointer!, _ sampling: OpaquePointer!, _ weighting: OpaquePointer!,
  _ options: UnsafePointer<speediff_sampler_options>!, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try SamplerHandle.create(out) {
      try TimestepSampler(
        schedule: ScheduleHandle.value(schedule, "schedule"), sampling: SamplingHandle.value(sampling, "sampling"),
        weighting: WeightingHandle.value(weighting, "weighting"), options: SamplerOptions(options))
    }
  }
}

/// Makes the `paper` preset.
@_cdecl("speediff_sampler_create_speed") @implementation
public func speediff_sampler_create_speed(
  _ schedule: OpaquePointer!, _ k: Double, _ r: Double, _ lam: Double,
  _ options: UnsafePointer<speediff_sampler_options>!, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try SamplerHandle.create(out) {
      try TimestepSampler.speed(
        schedule: ScheduleHandle.value(schedule, "schedule"), k: k, threshold: .magnitude(r), lam: lam,
        options: SamplerOptions(options))
    }
  }
}

/// Makes the `official` preset.
@_cdecl("speediff_sampler_create_official_speed") @implementation
public func speediff_sampler_create_official_speed(
  _ schedule: OpaquePointer!, _ sampling: OpaquePointer!, _ lam: Double,
  _ options: UnsafePointer<speediff_sampler_options>!, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try SamplerHandle.create(out) {
      guard let asymmetric = try SamplingHandle.value(sampling, "sampling") as? AsymmetricSampling else {
        throw ArgumentError("sampling", "must be asymmetric for the official preset", got: "another one")
      }
      return try TimestepSampler.officialSpeed(
        schedule: ScheduleHandle.value(schedule, "schedule"), k: asymmetric.k, threshold: asymmetric.threshold,
        lam: lam,
        options: SamplerOptions(options))
    }
  }
}

/// Frees a sampler.
@_cdecl("speediff_sampler_destroy") @implementation
public func speediff_sampler_destroy(_ sampler: OpaquePointer!) {
  SamplerHandle.destroy(sampler)
}

/// Copies P.
@_cdecl("speediff_sampler_probabilities") @implementation
public func speediff_sampler_probabilities(
  _ sampler: OpaquePointer!, _ step: Int64, _ out: UnsafeMutablePointer<Double>!, _ count: Int64
) -> speediff_status {
  reportingStatus {
    let sampler = try SamplerHandle.value(sampler, "sampler")
    try copy(sampler.probabilities(at: counter(step, "step")), to: out, count: count)
  }
}

/// Copies the exact distribution of the entries of a call's batch.
@_cdecl("speediff_sampler_marginal") @implementation
public func speediff_sampler_marginal(
  _ sampler: OpaquePointer!, _ step: Int64, _ n: Int64, _ out: UnsafeMutablePointer<Double>!, _ count: Int64
) -> speediff_status {
  reportingStatus {
    let sampler = try SamplerHandle.value(sampler, "sampler")
    try copy(sampler.marginal(count: Int(n), at: counter(step, "step")), to: out, count: count)
  }
}

/// Copies w.
@_cdecl("speediff_sampler_weights") @implementation
public func speediff_sampler_weights(
  _ sampler: OpaquePointer!, _ step: Int64, _ out: UnsafeMutablePointer<Double>!, _ count: Int64
) -> speediff_status {
  reportingStatus {
    let sampler = try SamplerHandle.value(sampler, "sampler")
    try copy(sampler.weights(at: counter(step, "step")), to: out, count: count)
  }
}

/// Gives the mean weight over a call's batch.
@_cdecl("speediff_sampler_expected_weight") @implementation
public func speediff_sampler_expected_weight(
  _ sampler: OpaquePointer!, _ step: Int64, _ n: Int64, _ out: UnsafeMutablePointer<Double>!
) -> speediff_status {
  reportingStatus {
    let sampler = try SamplerHandle.value(sampler, "sampler")
    let weight = try sampler.expectedWeight(count: n == 0 ? nil : Int(n), at: counter(step, "step"))
    try unwrap(out, "out").pointee = weight
  }
}

/// Copies the emphasis.
@_cdecl("speediff_sampler_emphasis") @implementation
public func speediff_sampler_emphasis(
  _ sampler: OpaquePointer!, _ step: Int64, _ log_snr: UnsafeMutablePointer<Double>!,
  _ emphasis: UnsafeMutablePointer<Double>!, _ count: Int64
) -> speediff_status {
  reportingStatus {
    let sampler = try SamplerHandle.value(sampler, "sampler")
    try copy(sampler.emphasis(at: counter(step, "step")), log_snr, emphasis, count: count)
  }
}

/// Copies both tables of an emphasis, or neither.
func copy(
  _ result: Emphasis, _ log_snr: UnsafeMutablePointer<Double>?, _ emphasis: UnsafeMutablePointer<Double>?,
  count: Int64
) throws {
  let (log_snr, emphasis) = try (unwrap(log_snr, "log_snr"), unwrap(emphasis, "emphasis"))
  try copy(result.logSNR, to: log_snr, count: count)
  try copy(result.density, to: emphasis, count: count)
}

import CSpeeDiff
import NoiseSchedules
import TimestepSampling

typealias SigmaSamplerHandle = Handle<SigmaSampler>

/// Combines a process, a sampling and a weighting.
@_cdecl("speediff_sigma_sampler_create") @implementation
public func speediff_sigma_sampler_create(
  _ process: OpaquePointer!, _ sampling: OpaquePointer!, _ weighting: OpaquePointer!,
  _ options: UnsafePointer<speediff_sampler_options>!, _ warm_up: Int64,
  _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try SigmaSamplerHandle.create(out) {
      try SigmaSampler(
        process: ProcessHandle.value(process, "process"),
        sampling: sampling == nil ? nil : SamplingHandle.value(sampling, "sampling"),
        weighting: weighting == nil ? nil : WeightingHandle.value(weighting, "weighting"),
        options: SamplerOptions(options),
        weightWarmUp: warm_up == 0 ? nil : WeightWarmUp(steps: Int(warm_up)))
    }
  }
}

/// Frees a sampler.
@_cdecl("speediff_sigma_sampler_destroy") @implementation
public func speediff_sigma_sampler_destroy(_ sampler: OpaquePointer!) {
  SigmaSamplerHandle.destroy(sampler)
}

/// Copies the emphasis.
@_cdecl("speediff_sigma_sampler_emphasis") @implementation
public func speediff_sigma_sampler_emphasis(
  _ sampler: OpaquePointer!, _ step: Int64, _ log_snr: UnsafeMutablePointer<Double>!,
  _ emphasis: UnsafeMutablePointer<Double>!, _ count: Int64
) -> speediff_status {
  reportingStatus {
    let sampler = try SigmaSamplerHandle.value(sampler, "sampler")
    try copy(sampler.emphasis(at: counter(step, "step")), log_snr, emphasis, count: count)
  }
}

/// Draws consecutive calls of the sampler's rank.
@_cdecl("speediff_sigma_sampler_draw") @implementation
public func speediff_sigma_sampler_draw(
  _ sampler: OpaquePointer!, _ first_call: Int64, _ calls: Int64, _ n: Int64,
  _ levels: UnsafeMutablePointer<Float>!, _ weights: UnsafeMutablePointer<Float>!
) -> speediff_status {
  reportingStatus {
    let sampler = try SigmaSamplerHandle.value(sampler, "sampler")
    try drawCalls(first_call, calls, n, sampler.options.layout) {
      try sampler.draw(
        firstCall: $0, calls: $1, count: $2, levels: unwrap(levels, "levels"), weights: unwrap(weights, "weights"))
    }
  }
}

/// Draws any entries of any training step.
@_cdecl("speediff_sigma_sampler_draw_slice") @implementation
public func speediff_sigma_sampler_draw_slice(
  _ sampler: OpaquePointer!, _ step: Int64, _ offset: Int64, _ n: Int64, _ total: Int64,
  _ levels: UnsafeMutablePointer<Float>!, _ weights: UnsafeMutablePointer<Float>!
) -> speediff_status {
  reportingStatus {
    let sampler = try SigmaSamplerHandle.value(sampler, "sampler")
    let slice = try BatchSlice(
      step: counter(step, "step"), offset: Int(offset), count: Int(n), total: Int(total))
    guard n > 0 else { return }
    try sampler.draw(slice, levels: unwrap(levels, "levels"), weights: unwrap(weights, "weights"))
  }
}

/// Draws any entries of any training step, each moved by a shift and an offset.
@_cdecl("speediff_sigma_sampler_draw_shifted") @implementation
public func speediff_sigma_sampler_draw_shifted(
  _ sampler: OpaquePointer!, _ step: Int64, _ offset: Int64, _ n: Int64, _ total: Int64,
  _ shifts: UnsafePointer<Double>!, _ offsets: UnsafePointer<Double>!, _ levels: UnsafeMutablePointer<Float>!,
  _ weights: UnsafeMutablePointer<Float>!
) -> speediff_status {
  reportingStatus {
    let sampler = try SigmaSamplerHandle.value(sampler, "sampler")
    let slice = try BatchSlice(
      step: counter(step, "step"), offset: Int(offset), count: Int(n), total: Int(total))
    guard n > 0 else { return }
    try sampler.draw(
      slice, moves: EntryShifts(shifts: shifts, offsets: offsets), levels: unwrap(levels, "levels"),
      weights: unwrap(weights, "weights"))
  }
}

import CSpeeDiff
import NoiseSchedules
import TimestepSampling

/// Draws consecutive calls of the sampler's rank.
@_cdecl("speediff_sampler_draw") @implementation
public func speediff_sampler_draw(
  _ sampler: OpaquePointer!, _ first_call: Int64, _ calls: Int64, _ n: Int64,
  _ timesteps: UnsafeMutablePointer<Int64>!, _ weights: UnsafeMutablePointer<Float>!
) -> speediff_status {
  reportingStatus {
    let sampler = try SamplerHandle.value(sampler, "sampler")
    try drawCalls(first_call, calls, n, sampler.options.layout) {
      try sampler.draw(
        firstCall: $0, calls: $1, count: $2, timesteps: unwrap(timesteps, "timesteps"),
        weights: unwrap(weights, "weights"))
    }
  }
}

/// Draws any entries of any training step.
@_cdecl("speediff_sampler_draw_slice") @implementation
public func speediff_sampler_draw_slice(
  _ sampler: OpaquePointer!, _ step: Int64, _ offset: Int64, _ n: Int64, _ total: Int64,
  _ timesteps: UnsafeMutablePointer<Int64>!, _ weights: UnsafeMutablePointer<Float>!
) -> speediff_status {
  reportingStatus {
    let sampler = try SamplerHandle.value(sampler, "sampler")
    let slice = try BatchSlice(
      step: counter(step, "step"), offset: Int(offset), count: Int(n), total: Int(total))
    guard n > 0 else { return }
    try sampler.draw(slice, timesteps: unwrap(timesteps, "timesteps"), weights: unwrap(weights, "weights"))
  }
}

/// Draws consecutive calls with `n` entries each; calls that write nothing are only checked, since their arrays may be NULL.
func drawCalls(
  _ first: Int64, _ calls: Int64, _ n: Int64, _ layout: BatchLayout,
  _ draw: (_ first: UInt64, _ calls: Int, _ n: Int) throws -> Void
) throws {
  let first = try counter(first, "first_call")
  guard calls != 0, n != 0 else { return try layout.check(calls: Int(calls), from: first, count: Int(n)) }
  try draw(first, Int(calls), Int(n))
}

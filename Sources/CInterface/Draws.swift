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
    let firstCall = try counter(first_call, "first_call")
    guard calls >= 0, calls <= Int64.max - first_call else {
      throw ArgumentError("calls", "must be at least 0 and keep first_call + calls within 63 bits", got: calls)
    }
    guard calls > 0, n != 0 else {
      // Nothing to write, so the arrays may be NULL; the other arguments still have to be valid.
      _ = try sampler.options.layout.slice(call: firstCall, count: Int(n))
      return
    }
    try sampler.draw(
      firstCall: firstCall, calls: Int(calls), count: Int(n), timesteps: unwrap(timesteps, "timesteps"),
      weights: unwrap(weights, "weights"))
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

private func counter(_ value: Int64, _ argument: String) throws -> UInt64 {
  guard value >= 0 else { throw ArgumentError(argument, "must be at least 0", got: value) }
  return UInt64(value)
}

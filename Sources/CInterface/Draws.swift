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
    let calls = try CallRange(first_call, calls, n, sampler.options.layout)
    guard !calls.isEmpty else { return }
    try sampler.draw(
      firstCall: calls.first, calls: calls.count, count: calls.entries, timesteps: unwrap(timesteps, "timesteps"),
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

/// Consecutive calls of one rank, checked.
struct CallRange {
  let first: UInt64
  let count: Int
  /// n of each call.
  let entries: Int

  init(_ first: Int64, _ count: Int64, _ n: Int64, _ layout: BatchLayout) throws {
    self.first = try counter(first, "first_call")
    guard count >= 0, count <= Int64.max - first else {
      throw ArgumentError("calls", "must be at least 0 and keep first_call + calls within 63 bits", got: count)
    }
    _ = try layout.slice(call: self.first, count: Int(n))
    self.count = Int(count)
    entries = Int(n)
  }

  /// Whether there is nothing to write, so that arrays may be NULL.
  var isEmpty: Bool { count == 0 || entries == 0 }
}

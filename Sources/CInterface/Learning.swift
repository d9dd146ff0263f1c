import CSpeeDiff
import NoiseSchedules
import TimestepSampling

/// Learns from the losses of a batch.
@_cdecl("speediff_sampler_update") @implementation
public func speediff_sampler_update(
  _ sampler: OpaquePointer!, _ t: UnsafePointer<Int64>!, _ losses: UnsafePointer<Float>!, _ n: Int64
) -> speediff_status {
  reportingStatus {
    let sampler = try SamplerHandle.value(sampler, "sampler")
    guard n >= 0, n <= BatchSlice.maximumTotal else {
      throw ArgumentError("n", "must be in [0, \(BatchSlice.maximumTotal)]", got: n)
    }
    let (steps, values) = n == 0 ? (nil, nil) : try (unwrap(t, "t"), unwrap(losses, "losses"))
    try sampler.update(
      timesteps: UnsafeBufferPointer(start: steps, count: Int(n)),
      losses: UnsafeBufferPointer(start: values, count: Int(n)))
  }
}

/// Gives the length of the history.
@_cdecl("speediff_sampler_history_count") @implementation
public func speediff_sampler_history_count(_ sampler: OpaquePointer!, _ count: UnsafeMutablePointer<Int64>!)
  -> speediff_status
{
  reportingStatus {
    let sampler = try SamplerHandle.value(sampler, "sampler")
    try unwrap(count, "count").pointee = Int64(sampler.historyCount)
  }
}

/// Copies the history.
@_cdecl("speediff_sampler_history") @implementation
public func speediff_sampler_history(
  _ sampler: OpaquePointer!, _ out: UnsafeMutablePointer<Double>!, _ count: Int64
) -> speediff_status {
  reportingStatus { try copy(SamplerHandle.value(sampler, "sampler").history, to: out, count: count) }
}

/// Restores a history.
@_cdecl("speediff_sampler_restore_history") @implementation
public func speediff_sampler_restore_history(
  _ sampler: OpaquePointer!, _ history: UnsafePointer<Double>!, _ count: Int64
) -> speediff_status {
  reportingStatus {
    let sampler = try SamplerHandle.value(sampler, "sampler")
    // The length is checked first, so that no array of another length is read.
    let expected = sampler.historyCount
    guard count == expected else { throw WrongCountError(argument: "count", expected: expected, count: count) }
    guard count > 0 else { return }
    try sampler.restore(history: Array(UnsafeBufferPointer(start: unwrap(history, "history"), count: expected)))
  }
}

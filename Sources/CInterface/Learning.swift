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
    try sampler.update(timesteps: entries(t, "t", n), losses: entries(losses, "losses", n))
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
    guard let values = try numbers(history, count, expected: sampler.historyCount) else { return }
    try sampler.restore(history: values)
  }
}

/// Learns from the losses of a batch.
@_cdecl("speediff_sigma_sampler_update") @implementation
public func speediff_sigma_sampler_update(
  _ sampler: OpaquePointer!, _ step: Int64, _ levels: UnsafePointer<Float>!, _ losses: UnsafePointer<Float>!,
  _ n: Int64
) -> speediff_status {
  reportingStatus {
    let sampler = try SigmaSamplerHandle.value(sampler, "sampler")
    try sampler.update(
      levels: entries(levels, "levels", n), losses: entries(losses, "losses", n), step: counter(step, "step"))
  }
}

/// Gives the length of the history.
@_cdecl("speediff_sigma_sampler_history_count") @implementation
public func speediff_sigma_sampler_history_count(_ sampler: OpaquePointer!, _ count: UnsafeMutablePointer<Int64>!)
  -> speediff_status
{
  reportingStatus {
    let sampler = try SigmaSamplerHandle.value(sampler, "sampler")
    try unwrap(count, "count").pointee = Int64(sampler.historyCount)
  }
}

/// Copies the history.
@_cdecl("speediff_sigma_sampler_history") @implementation
public func speediff_sigma_sampler_history(
  _ sampler: OpaquePointer!, _ out: UnsafeMutablePointer<Double>!, _ count: Int64
) -> speediff_status {
  reportingStatus { try copy(SigmaSamplerHandle.value(sampler, "sampler").history, to: out, count: count) }
}

/// Restores a history.
@_cdecl("speediff_sigma_sampler_restore_history") @implementation
public func speediff_sigma_sampler_restore_history(
  _ sampler: OpaquePointer!, _ history: UnsafePointer<Double>!, _ count: Int64
) -> speediff_status {
  reportingStatus {
    let sampler = try SigmaSamplerHandle.value(sampler, "sampler")
    guard let values = try numbers(history, count, expected: sampler.historyCount) else { return }
    try sampler.restore(history: values)
  }
}

/// One of the arrays of a batch; a batch may be empty.
private func entries<Element>(_ start: UnsafePointer<Element>?, _ argument: String, _ n: Int64) throws
  -> UnsafeBufferPointer<Element>
{
  guard n >= 0, n <= BatchSlice.maximumTotal else {
    throw ArgumentError("n", "must be in [0, \(BatchSlice.maximumTotal)]", got: n)
  }
  return UnsafeBufferPointer(start: n == 0 ? nil : try unwrap(start, argument), count: Int(n))
}

/// A history; nil if there is none. The length is checked first, so that no array of another length is read.
private func numbers(_ history: UnsafePointer<Double>?, _ count: Int64, expected: Int) throws -> [Double]? {
  guard count == expected else { throw WrongCountError(argument: "count", expected: expected, count: count) }
  return count == 0 ? nil : Array(UnsafeBufferPointer(start: try unwrap(history, "history"), count: expected))
}

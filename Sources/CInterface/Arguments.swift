import NoiseSchedules

/// A number of calls or steps.
func counter(_ value: Int64, _ argument: String) throws -> UInt64 {
  guard value >= 0 else { throw ArgumentError(argument, "must be at least 0", got: value) }
  return UInt64(value)
}

/// Copies the caller's table, after checking that a schedule can have its length.
func array<Element>(_ values: UnsafePointer<Element>?, _ count: Int64, _ argument: String) throws -> [Element] {
  guard count >= 0, count <= NoiseSchedule.maximumSteps else {
    throw ArgumentError("count", "must be in [0, \(NoiseSchedule.maximumSteps)]", got: count)
  }
  return try Array(UnsafeBufferPointer(start: unwrap(values, argument), count: Int(count)))
}

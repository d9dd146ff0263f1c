import NoiseSchedules

/// Throws unless the value is finite.
func checkFinite(_ argument: String, _ value: Double) throws {
  guard value.isFinite else { throw ArgumentError(argument, "must be finite", got: value) }
}

/// Throws unless the value is finite and above 0.
func checkPositive(_ argument: String, _ value: Double) throws {
  guard value > 0, value.isFinite else { throw ArgumentError(argument, "must be finite and above 0", got: value) }
}

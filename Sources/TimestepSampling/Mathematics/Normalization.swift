import NoiseSchedules

/// The sum of values, with the rounding errors of the additions carried along (Neumaier 1974): a million probabilities
/// add up to 1 within a few units of the last place.
func compensatedSum(_ values: some Sequence<Double>) -> Double {
  var sum = 0.0
  var lost = 0.0
  for value in values {
    let next = sum + value
    lost += abs(sum) >= abs(value) ? (sum - next) + value : (value - next) + sum
    sum = next
  }
  return sum + lost
}

/// The masses over their sum.
///
/// - Throws: `ArgumentError` with this argument and rule if nothing is left to divide by.
func normalized(_ masses: [Double], _ argument: String, _ rule: String) throws -> [Double] {
  let sum = compensatedSum(masses)
  guard sum >= .leastNormalMagnitude, sum.isFinite else { throw ArgumentError(argument, rule, got: "a mass of \(sum)") }
  return masses.map { $0 / sum }
}

import NoiseSchedules

/// The sum of values, compensated for rounding (Neumaier 1974): a million probabilities add up to 1 within a few units
/// in the last place.
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

/// The masses divided by their sum.
///
/// - Throws: `ArgumentError` with this argument and rule unless the sum is finite and above 0.
func normalized(_ masses: [Double], _ argument: String, _ rule: String) throws -> [Double] {
  let sum = compensatedSum(masses)
  guard sum >= .leastNormalMagnitude, sum.isFinite else { throw ArgumentError(argument, rule, got: "a sum of \(sum)") }
  return masses.map { $0 / sum }
}

/// A probability in (0, 1), kept from both ends so that neither tail loses precision.
public struct Probability: Sendable {
  /// The probability.
  public let lower: Double
  /// One minus the probability.
  public let upper: Double

  /// Makes a probability; `upper` is 1 - lower, as exactly as the caller knows it.
  public init(lower: Double, upper: Double) {
    self.lower = lower
    self.upper = upper
  }

  /// The middle of the 2⁻⁶⁴ that a 64-bit fraction stands for: neither 0 nor 1.
  init(fraction: UInt64) {
    lower = (Double(fraction) + 0.5) * 0x1p-64
    upper = (Double(~fraction) + 0.5) * 0x1p-64
  }

  /// The same probability within [begin, begin + width] of a distribution whose remainder above is `end`.
  func rescaled(begin: Double, width: Double, end: Double) -> Probability {
    Probability(lower: begin + width * lower, upper: end + width * upper)
  }
}

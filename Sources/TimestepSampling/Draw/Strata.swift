/// How the uniform numbers of one global batch are spread over [0, 1).
public enum Strata: Int32, Sendable, CaseIterable, CustomStringConvertible {
  /// Independently.
  case none = 0
  /// One in each of N equal strata, at an independent place: u_i = (π(i)+U_i)/N. The permutation π is drawn for each
  /// step, so that the noise level depends neither on the rank nor on the position in the batch.
  case stratified = 1
  /// Evenly spaced with one random offset per step: u_i = (U+π(i)/N) mod 1 (Kingma et al., "Variational Diffusion
  /// Models", 2021, Section H.2).
  case lowDiscrepancy = 2

  /// The name that users type.
  public var description: String {
    switch self {
    case .none: "none"
    case .stratified: "stratified"
    case .lowDiscrepancy: "low_discrepancy"
    }
  }
}

/// Maps a place among `count` equal strata to the 64-bit fraction of [0, 1).
struct StrataScale {
  private let shift: UInt64
  private let reciprocal: UInt64
  private let roundUp: UInt64

  /// - Parameter count: the number of strata, 1…2³¹.
  init(count: Int) {
    let bits = Int.bitWidth - (count - 1).leadingZeroBitCount
    shift = UInt64(32 - bits)
    // With D = count·2^shift in (2³¹, 2³²], 1/D is held as (2⁶⁴ + reciprocal)/2⁹⁶, rounded up.
    let divisor = UInt64(count) << shift
    let (quotient, remainder) = divisor.dividingFullWidth(((1 << 32) - divisor, 0))
    // For a power of two everything is exact.
    roundUp = remainder > 0 ? 1 : 0
    reciprocal = quotient + roundUp
  }

  /// 2⁶⁴·(stratum + jitter/2³²)/count, at most two more: never outside the stratum, as 2³²/count ≥ 2.
  @inline(__always)
  func fraction(stratum: UInt32, jitter: UInt32) -> UInt64 {
    let place = (UInt64(stratum) &<< 32 | UInt64(jitter)) &<< shift
    return place &+ place.multipliedFullWidth(by: reciprocal).high &+ roundUp
  }
}

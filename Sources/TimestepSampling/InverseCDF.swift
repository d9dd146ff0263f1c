import NoiseSchedules

/// Maps a uniform number to a time step by the inverse of P's cumulative distribution, in constant time.
///
/// A uniform number u in [0, 1) is the 64-bit fraction u·2⁶⁴, and so is the end of each step's interval. The first 32
/// bits decide the step unless they tie with a boundary; then the caller needs the other 32. A guide table over the
/// leading bits of u leads straight to the step: an entry of the table holds the step at its lower edge and the one
/// boundary that lies inside, if there is one. The few entries that hold more of them take a binary search.
struct InverseCDF: Sendable {
  /// The end of each step's interval, up to the last step with P > 0, whose end is 1 and is left out.
  private let ends: [UInt64]
  /// For each value of the leading bits of u: `boundary (32 bits) << 32 | step (31 bits) << 1 | needsSearch`.
  private let guide: [UInt64]
  private let guideShift: UInt32

  /// Makes the map of a distribution.
  ///
  /// - Parameter probabilities: finite, ≥ 0, with sum 1. Every step with P > 0 gets 2⁻⁶⁴ or more, so that it can come.
  init(_ probabilities: [Double]) {
    ends = Self.intervalEnds(probabilities)
    // At least as many entries as the narrowest step of common densities has room for; 32 KiB stay in the first cache.
    let bits = max(12, Self.bitWidth(2 * ends.count))
    guideShift = UInt32(32 - bits)

    var guide = [UInt64]()
    guide.reserveCapacity(1 << bits)
    var step = 0
    for entry in 0..<(UInt64(1) << bits) {
      let lower = entry << (64 - bits)
      let upper = lower | ((1 << (64 - bits)) - 1)
      while step < ends.count, ends[step] <= lower { step += 1 }
      var boundary = UInt64(UInt32.max)
      var needsSearch = false
      if step < ends.count, ends[step] <= upper {
        boundary = ends[step] >> 32
        needsSearch = step + 1 < ends.count && ends[step + 1] <= upper
      }
      guide.append(boundary << 32 | UInt64(step) << 1 | (needsSearch ? 1 : 0))
    }
    self.guide = guide
  }

  /// The map with its tables pinned, for a loop over a batch.
  @inline(__always)
  func withLookup<Result>(_ body: (Lookup) throws -> Result) rethrows -> Result {
    try guide.withUnsafeBufferPointer { guide in
      try ends.withUnsafeBufferPointer { ends in
        // Both tables outlive the closure, and the guide is never empty.
        try body(Lookup(guide: guide.baseAddress!, ends: ends, shift: guideShift))
      }
    }
  }

  /// The tables of an `InverseCDF`, as pointers that are valid for one call.
  struct Lookup {
    fileprivate let guide: UnsafePointer<UInt64>
    fileprivate let ends: UnsafeBufferPointer<UInt64>
    fileprivate let shift: UInt32

    /// The step of every u whose first 32 bits lie in `least…most`; nil unless the guide alone shows it.
    @inline(__always)
    func step(least: UInt32, most: UInt32) -> Int? {
      let entry = guide[Int(truncatingIfNeeded: least &>> shift)]
      let boundary = UInt32(truncatingIfNeeded: entry &>> 32)
      // One entry must hold them all, with its boundary wholly on one side: a tie of 32 bits decides nothing.
      guard _fastPath((least ^ most) &>> shift == 0 && entry & 1 == 0 && (least > boundary || most < boundary)) else {
        return nil
      }
      // The sign of the difference: a branch here would be mispredicted every other time.
      let isPast = (Int64(boundary) &- Int64(least)) &>> 63 & 1
      return Int(truncatingIfNeeded: (entry & 0xFFFF_FFFF) &>> 1) &+ Int(isPast)
    }

    /// The step of `u`, by binary search.
    @inline(never)
    func searchedStep(of u: UInt64) -> Int {
      var low = 0
      var high = ends.count
      while low < high {
        let middle = (low + high) / 2
        if ends[middle] <= u { low = middle + 1 } else { high = middle }
      }
      return low
    }
  }

  /// The smallest b with 2ᵇ ≥ count.
  private static func bitWidth(_ count: Int) -> Int {
    Int.bitWidth - max(0, count - 1).leadingZeroBitCount
  }

  /// Cumulates P in integers, so that steps far in the tail keep their own interval.
  private static func intervalEnds(_ probabilities: [Double]) -> [UInt64] {
    let last = probabilities.lastIndex { $0 > 0 } ?? 0
    var masses = probabilities[...last].map { p -> UInt64 in
      p > 0 ? max(1, UInt64(exactly: (p * 0x1p64).rounded()) ?? .max) : 0
    }
    // Rounding leaves the sum a few units off 2⁶⁴ (0 in wrapping arithmetic). The largest mass takes the difference.
    let largest = masses.indices.reduce(0) { masses[$1] > masses[$0] ? $1 : $0 }
    masses[largest] &-= masses.reduce(0, &+)
    var end: UInt64 = 0
    return masses.dropLast().map { mass in
      end &+= mass
      return end
    }
  }
}

import NoiseSchedules

/// Maps a uniform number to a timestep by the inverse of P's cumulative distribution, in constant time.
///
/// A uniform number u in [0, 1) is the 64-bit fraction u·2⁶⁴, and so is the end of each step's interval. The first 32
/// bits decide the step unless they tie with a boundary; then the caller needs the other 32. A guide table over the
/// leading bits of u leads straight to the step: an entry of the table holds the step at its lower edge and the one
/// boundary that lies inside; where there is none, its own last value does no harm. Ties, and the few entries that hold
/// several boundaries, take a binary search.
struct InverseCDF: Sendable {
  /// The end of each step's interval, without that of the last step with P > 0, which is 1. Padded with the largest
  /// fraction, for reads beyond the end.
  private let ends: [UInt64]
  private let boundaries: Int
  /// For each value of the leading bits of u: `boundary (32 bits) << 32 | step (31 bits) << 1 | needsSearch`.
  private let guide: [UInt64]
  private let guideShift: UInt32

  /// How many places after the last boundary may be read: the step after it, and those that `nearbyStep` tries.
  private static let lookAhead = 4

  /// Makes the map of a distribution.
  ///
  /// - Parameter probabilities: finite, ≥ 0, with sum 1. Every step with P > 0 gets 2⁻⁶⁴ or more, so that it can come.
  init(_ probabilities: [Double]) {
    let ends = Self.intervalEnds(probabilities)
    boundaries = ends.count
    self.ends = ends + [UInt64](repeating: .max, count: Self.lookAhead)
    // Fine enough for the narrow steps of common samplings, whose boundaries then seldom share an entry. 128 KiB lie in the
    // second cache; a table that fits the first would cost heavy-tailed samplings more than it saves others.
    let bits = max(14, Self.bitWidth(2 * ends.count))
    guideShift = UInt32(32 - bits)

    var guide = [UInt64]()
    guide.reserveCapacity(1 << bits)
    var step = 0
    for entry in 0..<(UInt64(1) << bits) {
      let lower = entry << (64 - bits)
      let upper = lower | ((1 << (64 - bits)) - 1)
      while step < ends.count, ends[step] <= lower { step += 1 }
      var boundary = upper >> 32
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
        // Both tables outlive the closure, and neither is empty.
        try body(
          Lookup(guide: guide.baseAddress!, ends: ends.baseAddress!, boundaries: boundaries, shift: guideShift))
      }
    }
  }

  /// The tables of an `InverseCDF`, as pointers that are valid for one call.
  struct Lookup {
    fileprivate let guide: UnsafePointer<UInt64>
    fileprivate let ends: UnsafePointer<UInt64>
    fileprivate let boundaries: Int
    fileprivate let shift: UInt32

    /// Stores the steps of a chunk of uniform numbers.
    ///
    /// - Parameters:
    ///   - least: the first 32 bits of the least u that each may be, in the lower half.
    ///   - most: the same of the largest.
    ///   - steps: room for one chunk.
    ///   - fraction: called for all 64 bits of the u at a place, where the first 32 are those of a boundary.
    @inline(__always)
    func storeSteps(
      least: UnsafePointer<UInt64>, most: UnsafePointer<UInt64>, into steps: UnsafeMutablePointer<UInt64>,
      fraction: (_ place: Int) -> UInt64
    ) {
      let lanes = Vector.scalarCount
      let one = Vector(repeating: 1)
      let lower = Vector(repeating: 0xFFFF_FFFF)
      // Three passes, so that all but the look-up itself is vector arithmetic: index, entry, step.
      for place in stride(from: 0, to: RandomStream.chunk, by: lanes) {
        Self.store(Self.leadingBits(least, place) &>> Vector(repeating: UInt64(shift)), to: steps, place)
      }
      for place in 0..<RandomStream.chunk { steps[place] = guide[Int(truncatingIfNeeded: steps[place])] }
      var anyDoubt = Vector(repeating: 0)
      for place in stride(from: 0, to: RandomStream.chunk, by: lanes) {
        let entry = Self.load(steps, place)
        let low = Self.leadingBits(least, place)
        let high = Self.leadingBits(most, place)
        let boundary = entry &>> Vector(repeating: 32)
        // The borrow of a 32-bit difference stands in the next bit: 1 where the boundary is below, or above.
        let isPast = (boundary &- low) &>> Vector(repeating: 32) & one
        let isBefore = (high &- boundary) &>> Vector(repeating: 32) & one
        let step = ((entry & lower) &>> one) &+ isPast
        // The guide decides if one entry with one boundary holds both, and they lie strictly on one side of it.
        let straddles = (low ^ high) &>> Vector(repeating: UInt64(shift))
        let doubt = straddles | (entry & one) | (one &- (isPast | isBefore))
        anyDoubt |= doubt
        Self.store(step | doubt &<< Vector(repeating: 32), to: steps, place)
      }
      guard _slowPath(anyDoubt.wrappedSum() != 0) else { return }
      var places = Self.placesInDoubt(steps)
      while places != 0 {
        let bit = places.trailingZeroBitCount
        places &= places &- 1
        let place = (bit & (lanes &- 1)) &* lanes &+ bit / lanes
        let (low, high) = (least[place] & 0xFFFF_FFFF, most[place] & 0xFFFF_FFFF)
        let step = nearbyStep(from: Int(truncatingIfNeeded: steps[place] & 0xFFFF_FFFF), least: low)
        // The next boundary ties with u, or is one of many: far in a tail, where few draws come.
        let isUndecided = _slowPath(ends[step] &>> 32 <= high)
        steps[place] = UInt64(truncatingIfNeeded: isUndecided ? searchedStep(of: fraction(place)) : step)
      }
    }

    /// Bit 8j + k: whether place 8k + j has a doubt in its upper half.
    @inline(__always)
    private static func placesInDoubt(_ steps: UnsafePointer<UInt64>) -> UInt64 {
      let lanes = Vector.scalarCount
      var byLane = Vector(repeating: 0)
      for place in stride(from: 0, to: RandomStream.chunk, by: lanes) {
        let doubt = load(steps, place) &>> Vector(repeating: 32)
        let isInDoubt = (Vector(repeating: 0) &- doubt) &>> Vector(repeating: 63)
        byLane |= isInDoubt &<< Vector(repeating: UInt64(truncatingIfNeeded: place / lanes))
      }
      var places: UInt64 = 0
      for lane in 0..<lanes { places |= byLane[lane] &<< UInt64(truncatingIfNeeded: lane &* lanes) }
      return places
    }

    /// The step after the boundaries from `start` on that are below a fraction of 32 bits; three at most.
    @inline(__always)
    private func nearbyStep(from start: Int, least: UInt64) -> Int {
      // Without branches, which nothing could predict. `ends` goes on after its last boundary.
      var step = start
      for _ in 0..<3 { step &+= ends[step] &>> 32 < least ? 1 : 0 }
      return step
    }

    private typealias Vector = SIMD8<UInt64>

    @inline(__always)
    private static func load(_ values: UnsafePointer<UInt64>, _ place: Int) -> Vector {
      UnsafeRawPointer(values + place).loadUnaligned(as: Vector.self)
    }

    @inline(__always)
    private static func leadingBits(_ values: UnsafePointer<UInt64>, _ place: Int) -> Vector {
      load(values, place) & Vector(repeating: 0xFFFF_FFFF)
    }

    @inline(__always)
    private static func store(_ vector: Vector, to values: UnsafeMutablePointer<UInt64>, _ place: Int) {
      UnsafeMutableRawPointer(values + place).storeBytes(of: vector, as: Vector.self)
    }

    /// The step of `u`, by binary search.
    @inline(never)
    func searchedStep(of u: UInt64) -> Int {
      var low = 0
      var high = boundaries
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

  /// The cumulative sum of P in integers, so that steps far in the tail keep their own interval.
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

/// The uniform numbers u of one global batch, as 64-bit fractions, prepared 64 entries at a time.
///
/// The entries of a chunk stand in the order in which the generator makes them: entry `4·block + word` of the chunk at
/// `Philox4x32.place(block, word)`.
protocol FractionSource {
  /// The first 32 bits of the least u that each prepared entry's first random word leaves possible, in the lower half.
  var least: UnsafeMutablePointer<UInt64> { get }
  /// The first 32 bits of the largest such u, in the lower half.
  var most: UnsafeMutablePointer<UInt64> { get }
  /// Prepares the entries `4·block … 4·block + 63` of the batch.
  func prepare(block: UInt32)
  /// u of one entry of the batch, from both its random words.
  func fraction(of index: Int) -> UInt64
  /// Stores u of the entries `4·block … 4·block + 63` of the batch, and uses up what was prepared.
  func storeFractions(block: UInt32, into fractions: UnsafeMutablePointer<UInt64>)
}

/// Independent uniform numbers: u = (first word, second word)/2⁶⁴.
struct IndependentFractions: FractionSource {
  let least: UnsafeMutablePointer<UInt64>
  var most: UnsafeMutablePointer<UInt64> { least }
  private let draw: RandomStream
  private let refinement: RandomStream

  /// - Parameter buffer: room for one chunk.
  init(seed: UInt64, step: UInt64, buffer: UnsafeMutablePointer<UInt64>) {
    least = buffer
    draw = RandomStream(seed: seed, purpose: .draw, step: step)
    refinement = RandomStream(seed: seed, purpose: .drawRefinement, step: step)
  }

  @inline(__always)
  func prepare(block: UInt32) { draw.store(fromBlock: block, into: least) }

  @inline(never)
  func fraction(of index: Int) -> UInt64 {
    UInt64(draw.word(at: index)) << 32 | UInt64(refinement.word(at: index))
  }

  @inline(__always)
  func storeFractions(block: UInt32, into fractions: UnsafeMutablePointer<UInt64>) {
    draw.store(fromBlock: block, into: fractions)
    refinement.store(fromBlock: block, into: least)
    for place in 0..<RandomStream.chunk {
      fractions[place] = fractions[place] &<< 32 | least[place] & 0xFFFF_FFFF
    }
  }
}

/// One uniform number in each stratum: u = (π(i) + (first word, second word)/2⁶⁴)/N.
struct StratifiedFractions: FractionSource {
  let least: UnsafeMutablePointer<UInt64>
  let most: UnsafeMutablePointer<UInt64>
  private let order: StrataOrder
  private let jitter: RandomStream
  private let refinement: RandomStream
  private let scale: StrataScale
  /// Bounds what the second word can add to u·2⁶⁴.
  private let slack: UInt64
  private let refinementRange: UInt64

  /// - Parameter buffer: room for two chunks.
  init(seed: UInt64, step: UInt64, total: Int, buffer: UnsafeMutablePointer<UInt64>) {
    least = buffer
    most = buffer + RandomStream.chunk
    order = StrataOrder(seed: seed, step: step, total: total)
    jitter = RandomStream(seed: seed, purpose: .strataJitter, step: step)
    refinement = RandomStream(seed: seed, purpose: .strataRefinement, step: step)
    scale = StrataScale(count: total)
    slack = (1 << 32) / UInt64(total)
    // The first word's fraction is rounded up by two units at most; the second one must not leave the stratum.
    refinementRange = slack > 3 ? slack - 3 : 0
  }

  @inline(__always)
  func prepare(block: UInt32) {
    jitter.store(fromBlock: block, into: least)
    order.forEach(fromIndex: block &<< 2) { place, stratum in
      let word = UInt32(truncatingIfNeeded: least[place])
      let fraction = scale.fraction(stratum: stratum, jitter: word)
      least[place] = fraction &>> 32
      most[place] = (fraction &+ slack) &>> 32
    }
  }

  @inline(never)
  func fraction(of index: Int) -> UInt64 {
    scale.fraction(stratum: order[index], jitter: jitter.word(at: index))
      &+ (UInt64(refinement.word(at: index)) &* refinementRange) &>> 32
  }

  @inline(__always)
  func storeFractions(block: UInt32, into fractions: UnsafeMutablePointer<UInt64>) {
    jitter.store(fromBlock: block, into: fractions)
    refinement.store(fromBlock: block, into: least)
    order.forEach(fromIndex: block &<< 2) { place, stratum in
      let word = UInt32(truncatingIfNeeded: fractions[place])
      fractions[place] =
        scale.fraction(stratum: stratum, jitter: word)
        &+ ((least[place] & 0xFFFF_FFFF) &* refinementRange) &>> 32
    }
  }
}

/// Evenly spaced numbers with one random offset: u = (U + π(i)/N) mod 1.
struct LowDiscrepancyFractions: FractionSource {
  let least: UnsafeMutablePointer<UInt64>
  var most: UnsafeMutablePointer<UInt64> { least }
  private let order: StrataOrder
  private let scale: StrataScale
  private let offset: UInt64

  /// - Parameter buffer: room for one chunk.
  init(seed: UInt64, step: UInt64, total: Int, buffer: UnsafeMutablePointer<UInt64>) {
    least = buffer
    order = StrataOrder(seed: seed, step: step, total: total)
    scale = StrataScale(count: total)
    let words = RandomStream(seed: seed, purpose: .strataJitter, step: step).block(0)
    offset = UInt64(words[0]) << 32 | UInt64(words[1])
  }

  @inline(__always)
  func prepare(block: UInt32) {
    order.forEach(fromIndex: block &<< 2) { place, stratum in least[place] = fraction(stratum) &>> 32 }
  }

  @inline(never)
  func fraction(of index: Int) -> UInt64 { fraction(order[index]) }

  @inline(__always)
  func storeFractions(block: UInt32, into fractions: UnsafeMutablePointer<UInt64>) {
    order.forEach(fromIndex: block &<< 2) { place, stratum in fractions[place] = fraction(stratum) }
  }

  @inline(__always)
  private func fraction(_ stratum: UInt32) -> UInt64 {
    offset &+ scale.fraction(stratum: stratum, jitter: 0)
  }
}

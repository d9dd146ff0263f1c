/// The uniform numbers u of one global batch, as 64-bit fractions, prepared 64 entries at a time.
///
/// Entries are addressed as the generator makes them: entry `4·block + word` of the prepared ones.
protocol FractionSource {
  /// Prepares the entries `4·block … 4·block + 63` of the batch.
  func prepare(block: UInt32)
  /// The first 32 bits of the least and of the largest u that the first random word leaves possible.
  func leadingBits(_ block: Int, _ word: Int) -> (least: UInt32, most: UInt32)
  /// u from both random words.
  ///
  /// - Parameter index: the entry's index in the batch.
  func fraction(of index: Int, _ block: Int, _ word: Int) -> UInt64
}

/// Independent uniform numbers: u = (first word, second word)/2⁶⁴.
struct IndependentFractions: FractionSource {
  private let draw: RandomStream
  private let refinement: RandomStream
  private let words: RandomWords

  init(seed: UInt64, step: UInt64, buffers: ChunkBuffers) {
    draw = RandomStream(seed: seed, purpose: .draw, step: step)
    refinement = RandomStream(seed: seed, purpose: .drawRefinement, step: step)
    words = buffers.words
  }

  @inline(__always)
  func prepare(block: UInt32) { draw.store(fromBlock: block, into: words) }

  @inline(__always)
  func leadingBits(_ block: Int, _ word: Int) -> (least: UInt32, most: UInt32) {
    let bits = words[block, word]
    return (bits, bits)
  }

  @inline(never)
  func fraction(of index: Int, _ block: Int, _ word: Int) -> UInt64 {
    UInt64(words[block, word]) << 32 | UInt64(refinement.word(at: index))
  }
}

/// One uniform number in each stratum: u = (π(i) + (first word, second word)/2⁶⁴)/N.
struct StratifiedFractions: FractionSource {
  private let order: StrataOrder
  private let jitter: RandomStream
  private let refinement: RandomStream
  private let scale: StrataScale
  private let buffers: ChunkBuffers
  /// What the second word can add to u·2⁶⁴.
  private let slack: UInt64

  init(seed: UInt64, step: UInt64, total: Int, buffers: ChunkBuffers) {
    order = StrataOrder(seed: seed, step: step, total: total)
    jitter = RandomStream(seed: seed, purpose: .strataJitter, step: step)
    refinement = RandomStream(seed: seed, purpose: .strataRefinement, step: step)
    scale = StrataScale(count: total)
    slack = (1 << 32) / UInt64(total)
    self.buffers = buffers
  }

  @inline(__always)
  func prepare(block: UInt32) {
    jitter.store(fromBlock: block, into: buffers.words)
    order.store(fromIndex: block &<< 2, into: buffers.strata)
  }

  @inline(__always)
  func leadingBits(_ block: Int, _ word: Int) -> (least: UInt32, most: UInt32) {
    let least = leastFraction(block, word)
    return (UInt32(truncatingIfNeeded: least &>> 32), UInt32(truncatingIfNeeded: (least &+ slack) &>> 32))
  }

  @inline(never)
  func fraction(of index: Int, _ block: Int, _ word: Int) -> UInt64 {
    leastFraction(block, word) + (UInt64(refinement.word(at: index)) &* slack) >> 32
  }

  @inline(__always)
  private func leastFraction(_ block: Int, _ word: Int) -> UInt64 {
    scale.fraction(stratum: buffers.strata[4 &* block &+ word], jitter: buffers.words[block, word])
  }
}

/// Evenly spaced numbers with one random offset: u = (U + π(i)/N) mod 1.
struct LowDiscrepancyFractions: FractionSource {
  private let order: StrataOrder
  private let scale: StrataScale
  private let offset: UInt64
  private let strata: UnsafeMutablePointer<UInt32>

  init(seed: UInt64, step: UInt64, total: Int, buffers: ChunkBuffers) {
    order = StrataOrder(seed: seed, step: step, total: total)
    scale = StrataScale(count: total)
    let words = RandomStream(seed: seed, purpose: .strataJitter, step: step).block(0)
    offset = UInt64(words[0]) << 32 | UInt64(words[1])
    strata = buffers.strata
  }

  @inline(__always)
  func prepare(block: UInt32) { order.store(fromIndex: block &<< 2, into: strata) }

  @inline(__always)
  func leadingBits(_ block: Int, _ word: Int) -> (least: UInt32, most: UInt32) {
    let bits = UInt32(truncatingIfNeeded: fraction(block, word) &>> 32)
    return (bits, bits)
  }

  @inline(never)
  func fraction(of index: Int, _ block: Int, _ word: Int) -> UInt64 { fraction(block, word) }

  @inline(__always)
  private func fraction(_ block: Int, _ word: Int) -> UInt64 {
    offset &+ scale.fraction(stratum: strata[4 &* block &+ word], jitter: 0)
  }
}

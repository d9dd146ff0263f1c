/// What random numbers are drawn for: the second word of the Philox counter.
///
/// The table is a permanent promise. Values may be added and never change, or the draws of every run change with them.
public enum RandomPurpose: UInt32, Sendable {
  /// The time step of each entry.
  case draw = 0
  /// The second word of an entry whose first word does not decide its time step.
  case drawRefinement = 1
  /// The keys of the permutation that spreads strata over the batch.
  case strataOrder = 2
  /// The place of each entry within its stratum; for the low-discrepancy sequence, its one offset.
  case strataJitter = 3
  /// The second word of `strataJitter`.
  case strataRefinement = 4
  /// The trainer's noise ε.
  case noise = 5
  /// Which labels the trainer drops for classifier-free guidance.
  case labelDropout = 6
  /// Which tokens a masked network hides.
  case mask = 7
  /// Initial parameters.
  case initialization = 8
  /// The order in which data are visited.
  case dataOrder = 9
}

/// The random words of one training step for one purpose: a pure function of (seed, purpose, step, index).
///
/// Philox's key is the seed (low word, high word) and its counter (block, purpose, step low, step high). Index `i` is
/// word `i % 4` of block `i / 4`.
struct RandomStream {
  private let counter: SIMD3<UInt32>
  private let key: SIMD2<UInt32>

  init(seed: UInt64, purpose: RandomPurpose, step: UInt64) {
    key = SIMD2(UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed &>> 32))
    counter = SIMD3(
      purpose.rawValue, UInt32(truncatingIfNeeded: step), UInt32(truncatingIfNeeded: step &>> 32))
  }

  /// The four words of one block.
  func block(_ block: UInt32) -> SIMD4<UInt32> {
    Philox4x32.block(counter: SIMD4(block, counter[0], counter[1], counter[2]), key: key)
  }

  /// The word at one index.
  func word(at index: Int) -> UInt32 {
    block(UInt32(truncatingIfNeeded: index &>> 2))[index & 3]
  }

  /// How many words `store` stores.
  static let chunk = 4 * Philox4x32.lanes

  /// Stores the words of the 64 indices from `4·block` on, each in the lower half of its place; see `Philox4x32.place`.
  @inline(__always)
  func store(fromBlock block: UInt32, into words: UnsafeMutablePointer<UInt64>) {
    Philox4x32.storeBlocks(from: block, counter, key: key, into: words)
  }
}

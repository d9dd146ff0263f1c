/// What random numbers are drawn for: the second word of the Philox counter.
///
/// Values may be added but never change: otherwise the draws of every run would change.
public enum RandomPurpose: UInt32, Sendable {
  /// The timestep of each entry.
  case draw = 0
  /// The second word of an entry whose first word does not decide its timestep.
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
  /// Which of an entry's tokens a masked network hides.
  case mask = 7
  /// Initial parameters.
  case initialization = 8
  /// The order in which data are visited.
  case dataOrder = 9
  /// The noise of generated images; here the seed is the image's own, and the step that of the sampling.
  case generation = 10
  /// `noise` and `labelDropout` of a masked network's second pass.
  case maskedNoise = 11
  case maskedLabelDropout = 12
  /// The share of tokens that a masked network hides in a step.
  case maskRatio = 13
}

/// The random words of one training step for one purpose: a pure function of (seed, purpose, step, index).
///
/// Philox's key is the seed (low word, high word) and its counter (block, purpose, step low, step high). Index `i` is
/// word `i % 4` of block `i / 4`.
package struct RandomStream {
  private let counter: SIMD3<UInt32>
  private let key: SIMD2<UInt32>

  package init(seed: UInt64, purpose: RandomPurpose, step: UInt64) {
    key = SIMD2(UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed &>> 32))
    counter = SIMD3(
      purpose.rawValue, UInt32(truncatingIfNeeded: step), UInt32(truncatingIfNeeded: step &>> 32))
  }

  /// The four words of one block.
  package func block(_ block: UInt32) -> SIMD4<UInt32> {
    Philox4x32.block(counter: SIMD4(block, counter[0], counter[1], counter[2]), key: key)
  }

  /// The word at one index.
  package func word(at index: Int) -> UInt32 {
    block(UInt32(truncatingIfNeeded: index &>> 2))[index & 3]
  }

  /// Stores the words of the 64 indices from `4·block` on.
  package func storeInOrder(fromBlock block: UInt32, into words: UnsafeMutablePointer<UInt32>) {
    withUnsafeTemporaryAllocation(of: UInt64.self, capacity: Self.chunk) { buffer in
      // The allocation is not empty, so it has a base address.
      let places = buffer.baseAddress!
      store(fromBlock: block, into: places)
      for place in 0..<Self.chunk { words[Philox4x32.index(at: place)] = UInt32(truncatingIfNeeded: places[place]) }
    }
  }

  /// How many words `store` stores.
  package static let chunk = 4 * Philox4x32.lanes

  /// Stores the words of the 64 indices from `4·block` on, each in the lower half of its place; see `Philox4x32.place`.
  @inline(__always)
  func store(fromBlock block: UInt32, into words: UnsafeMutablePointer<UInt64>) {
    Philox4x32.storeBlocks(from: block, counter, key: key, into: words)
  }
}

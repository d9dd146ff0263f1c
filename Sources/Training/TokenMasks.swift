import Kernels
import Networks
import TimestepSampling

/// Which tokens a pass keeps in one training step: a function of (seed, step, entry of the global
/// batch).
///
/// The share that is hidden is the same for the whole step. Word 0 of purpose `maskRatio` decides it.
/// Token j of entry g has word g·L + j of purpose `mask`, where L is the tokens of an entry rounded up to a multiple of 4.
/// The tokens with the smallest words are kept, sorted by word, then by token.
struct TokenMasks {
  /// How many tokens are kept.
  let kept: Int
  private let tokens: Int
  private let words: RandomStream

  init(_ hidden: HiddenTokens, seed: UInt64, step: UInt64) {
    let word = RandomStream(seed: seed, purpose: .maskRatio, step: step).word(at: 0)
    kept = hidden.kept(Double(word) * 0x1p-32)
    tokens = hidden.tokens
    words = RandomStream(seed: seed, purpose: .mask, step: step)
  }

  /// Whether each entry of the global batch has words of its own; there are 2³² blocks.
  static func canFill(entries: Int, tokens: Int) -> Bool { entries <= (1 << 32) / blocks(of: tokens) }

  /// Writes all tokens of an entry, the kept ones first.
  func fill(_ order: UnsafeMutablePointer<Int32>, entry: Int) {
    withUnsafeTemporaryAllocation(of: UInt64.self, capacity: Self.blocks(of: tokens) * 4) { keys in
      let first = entry &* Self.blocks(of: tokens)
      for block in 0..<Self.blocks(of: tokens) {
        let four = words.block(UInt32(truncatingIfNeeded: first &+ block))
        for i in 0..<4 { keys[4 &* block &+ i] = UInt64(four[i]) &<< 32 | UInt64(4 &* block &+ i) }
      }
      sortInPlace(UnsafeMutableBufferPointer(rebasing: keys[..<tokens]))
      for i in 0..<tokens { order[i] = Int32(truncatingIfNeeded: keys[i]) }
    }
  }

  private static func blocks(of tokens: Int) -> Int { (tokens + 3) / 4 }
}

/// Heapsort: the standard library's sort allocates memory, and a training step must not.
private func sortInPlace(_ keys: UnsafeMutableBufferPointer<UInt64>) {
  func sink(_ start: Int, below end: Int) {
    var parent = start
    while 2 &* parent &+ 1 < end {
      var child = 2 &* parent &+ 1
      if child &+ 1 < end, keys[child] < keys[child &+ 1] { child &+= 1 }
      guard keys[parent] < keys[child] else { return }
      keys.swapAt(parent, child)
      parent = child
    }
  }
  for start in (0..<keys.count / 2).reversed() { sink(start, below: keys.count) }
  for end in (1..<max(keys.count, 1)).reversed() {
    keys.swapAt(0, end)
    sink(0, below: end)
  }
}

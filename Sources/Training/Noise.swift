import Kernels
import TimestepSampling

/// Standard normal noise as a function of (seed, step, entry of the global batch, element).
///
/// Element e of entry g belongs to index g·E + e of the stream, where E is the elements of an entry rounded up to a
/// multiple of 4. `makeNormal` turns the words into normals.
struct Noise {
  private let stream: RandomStream

  init(seed: UInt64, purpose: RandomPurpose, step: UInt64) {
    stream = RandomStream(seed: seed, purpose: purpose, step: step)
  }

  /// Whether each entry of the global batch has words of its own; there are 2³² blocks.
  static func canFill(entries: Int, elements: Int) -> Bool {
    let (blocks, overflow) = entries.multipliedReportingOverflow(by: blocks(of: elements))
    return !overflow && blocks <= 1 << 32
  }

  /// Stores the noise of one entry.
  func fill(_ out: UnsafeMutablePointer<Float>, entry: Int, elements: Int) {
    let chunk = RandomStream.chunk
    withUnsafeTemporaryAllocation(of: UInt32.self, capacity: chunk) { words in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: chunk) { rest in
        // The allocations are not empty, so they have base addresses.
        let (words, rest) = (words.baseAddress!, rest.baseAddress!)
        var first = 0
        while first < elements {
          stream.storeInOrder(
            fromBlock: UInt32(truncatingIfNeeded: entry &* Self.blocks(of: elements) &+ first / 4), into: words)
          if first &+ chunk <= elements {
            makeNormal(words, into: out + first, count: chunk)
          } else {
            makeNormal(words, into: rest, count: chunk)
            (out + first).update(from: rest, count: elements &- first)
          }
          first &+= chunk
        }
      }
    }
  }

  private static func blocks(of elements: Int) -> Int { (elements + 3) / 4 }
}

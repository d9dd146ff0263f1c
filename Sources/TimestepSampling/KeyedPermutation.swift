/// A pseudo-random permutation of 0..<count that is a function of its keys, in constant time and memory per value.
///
/// An alternating Feistel network permutes the smallest power of two that holds `count`, and values that land outside
/// are sent through it again ("cycle walking"; fewer than two passes on average). Twelve rounds leave no bias that 10⁵
/// permutations show for count > 8; smaller ones keep one, hence `StrataOrder` shuffles few entries exactly. Source: Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002; Mitchell et
/// al., "Bandwidth-Optimal Random Shuffling for GPUs", 2022.
struct KeyedPermutation {
  private static let rounds = 12

  private let count: UInt32
  private let leftBits: UInt32
  private let rightBits: UInt32
  private let keys: SIMD16<UInt32>

  /// Makes the permutation of 0..<count (4 < count ≤ 2³¹) that belongs to one step's stream of keys.
  init(count: Int, stream: RandomStream) {
    self.count = UInt32(count)
    let bits = UInt32(Int.bitWidth - (count - 1).leadingZeroBitCount)
    leftBits = bits / 2
    rightBits = bits - leftBits
    var keys = SIMD16<UInt32>()
    for block in 0..<(Self.rounds / 4) {
      let words = stream.block(UInt32(block))
      for word in 0..<4 { keys[4 * block + word] = words[word] }
    }
    self.keys = keys
  }

  /// The place of 16 values, each below `count`.
  @inline(__always)
  func callAsFunction(_ values: SIMD16<UInt32>) -> SIMD16<UInt32> {
    var result = pass(values)
    var outside = result .>= SIMD16(repeating: count)
    while any(outside) {
      result.replace(with: pass(result), where: outside)
      outside = result .>= SIMD16(repeating: count)
    }
    return result
  }

  @inline(__always)
  private func pass(_ values: SIMD16<UInt32>) -> SIMD16<UInt32> {
    var left = values &>> SIMD16(repeating: rightBits)
    var right = values & SIMD16(repeating: (1 &<< rightBits) &- 1)
    for round in stride(from: 0, to: Self.rounds, by: 2) {
      right ^= Self.hash(left, key: keys[round], bits: rightBits)
      left ^= Self.hash(right, key: keys[round + 1], bits: leftBits)
    }
    return left &<< SIMD16(repeating: rightBits) | right
  }

  /// The top `bits` (1…31) of a mixed word: two multiplications with an xor-shift between them.
  @inline(__always)
  private static func hash(_ values: SIMD16<UInt32>, key: UInt32, bits: UInt32) -> SIMD16<UInt32> {
    var h = (values ^ SIMD16(repeating: key)) &* SIMD16(repeating: 0x9E37_79B1)
    h ^= h &>> SIMD16(repeating: 15)
    h = h &* SIMD16(repeating: 0x85EB_CA77)
    return h &>> SIMD16(repeating: 32 &- bits)
  }
}

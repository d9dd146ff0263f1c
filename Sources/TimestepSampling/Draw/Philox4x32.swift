/// Philox4x32-10: a counter-based random function. 128 bits of counter and 64 bits of key give 128 random bits.
///
/// Being a function, it needs no state: any step of a training run can be drawn without the steps before it, and two
/// ranks that use different counters never share a draw. Source: Salmon et al., "Parallel Random Numbers: As Easy as
/// 1, 2, 3", 2011.
public enum Philox4x32 {
  /// How many blocks `storeBlocks` makes at once.
  static let lanes = 16

  /// One block of four 32-bit words.
  public static func block(counter: SIMD4<UInt32>, key: SIMD2<UInt32>) -> SIMD4<UInt32> {
    var c = counter
    var k = key
    for _ in 0..<rounds {
      let p0 = UInt64(c[0]) &* UInt64(multiplier0)
      let p1 = UInt64(c[2]) &* UInt64(multiplier1)
      c = SIMD4(
        UInt32(truncatingIfNeeded: p1 &>> 32) ^ c[1] ^ k[0], UInt32(truncatingIfNeeded: p1),
        UInt32(truncatingIfNeeded: p0 &>> 32) ^ c[3] ^ k[1], UInt32(truncatingIfNeeded: p0))
      k &+= weyl
    }
    return c
  }

  /// Sixteen blocks whose first counter words are `first`, `first + 1`, …, `first + 15`.
  ///
  /// Word `w` of block `first + b` is stored at `place(b, w)`. Only the low half of what stands there is meaningful.
  ///
  /// - Parameter words: room for 64 values.
  @inline(__always)
  static func storeBlocks(
    from first: UInt32, _ counter: SIMD3<UInt32>, key: SIMD2<UInt32>, into words: UnsafeMutablePointer<UInt64>
  ) {
    let lane = SIMD8<UInt64>(0, 1, 2, 3, 4, 5, 6, 7)
    // Two groups, so that the multiplications of one fill the latency of the other's.
    var a = Lanes(block: lane &+ SIMD8(repeating: UInt64(first)), counter)
    var b = Lanes(block: lane &+ SIMD8(repeating: UInt64(first) &+ 8), counter)
    var k0 = SIMD8(repeating: UInt64(key[0]))
    var k1 = SIMD8(repeating: UInt64(key[1]))
    for _ in 0..<rounds {
      a.round(k0, k1)
      b.round(k0, k1)
      k0 &+= SIMD8(repeating: UInt64(weyl[0]))
      k1 &+= SIMD8(repeating: UInt64(weyl[1]))
    }
    a.store(into: words)
    b.store(into: words + 32)
  }

  /// Where `storeBlocks` puts word `word` of the block number `block` of sixteen.
  @inline(__always)
  static func place(_ block: Int, _ word: Int) -> Int {
    (block &>> 3) &<< 5 &+ (block & 7) &+ word &<< 3
  }

  /// The index 4·block + word of what stands at a place.
  static func index(at place: Int) -> Int {
    let block = (place &>> 5) &* 8 &+ (place & 7)
    return 4 &* block &+ ((place &>> 3) & 3)
  }

  /// Eight counters. Each word has a 64-bit lane whose upper half is left to hold garbage: the widening multiplication
  /// takes the lower half alone, and the lower half of every other operation depends on lower halves alone.
  private struct Lanes {
    var c0: SIMD8<UInt64>
    var c1: SIMD8<UInt64>
    var c2: SIMD8<UInt64>
    var c3: SIMD8<UInt64>

    @inline(__always)
    init(block: SIMD8<UInt64>, _ counter: SIMD3<UInt32>) {
      c0 = block
      c1 = SIMD8(repeating: UInt64(counter[0]))
      c2 = SIMD8(repeating: UInt64(counter[1]))
      c3 = SIMD8(repeating: UInt64(counter[2]))
    }

    @inline(__always)
    mutating func round(_ k0: SIMD8<UInt64>, _ k1: SIMD8<UInt64>) {
      let lower = SIMD8<UInt64>(repeating: 0xFFFF_FFFF)
      let p0 = (c0 & lower) &* SIMD8(repeating: UInt64(multiplier0))
      let p1 = (c2 & lower) &* SIMD8(repeating: UInt64(multiplier1))
      c0 = (p1 &>> SIMD8(repeating: 32)) ^ c1 ^ k0
      c1 = p1
      c2 = (p0 &>> SIMD8(repeating: 32)) ^ c3 ^ k1
      c3 = p0
    }

    @inline(__always)
    func store(into words: UnsafeMutablePointer<UInt64>) {
      let bytes = UnsafeMutableRawPointer(words)
      bytes.storeBytes(of: c0, as: SIMD8<UInt64>.self)
      bytes.storeBytes(of: c1, toByteOffset: 64, as: SIMD8<UInt64>.self)
      bytes.storeBytes(of: c2, toByteOffset: 128, as: SIMD8<UInt64>.self)
      bytes.storeBytes(of: c3, toByteOffset: 192, as: SIMD8<UInt64>.self)
    }
  }

  private static let rounds = 10
  private static let multiplier0: UInt32 = 0xD251_1F53
  private static let multiplier1: UInt32 = 0xCD9E_8D57
  private static let weyl = SIMD2<UInt32>(0x9E37_79B9, 0xBB67_AE85)
}

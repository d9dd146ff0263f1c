/// XXH64: a 64-bit hash of a stream of bytes. It detects damage, but does not protect against an adversary.
///
/// Four lanes of 64-bit multiplications consume 32 bytes at a time.
///
/// Source: Yann Collet, `doc/xxhash_spec.md` of xxHash.
struct XXH64 {
  private static let prime1: UInt64 = 0x9E37_79B1_85EB_CA87
  private static let prime2: UInt64 = 0xC2B2_AE3D_27D4_EB4F
  private static let prime3: UInt64 = 0x1656_67B1_9E37_79F9
  private static let prime4: UInt64 = 0x85EB_CA77_C2B2_AE63
  private static let prime5: UInt64 = 0x27D4_EB2F_1656_67C5

  private let seed: UInt64
  private var lanes: (UInt64, UInt64, UInt64, UInt64)
  private var total: UInt64 = 0
  /// The bytes after the last whole stripe of 32.
  private var pending: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
  private var pendingCount = 0

  init(seed: UInt64 = 0) {
    self.seed = seed
    lanes = (seed &+ Self.prime1 &+ Self.prime2, seed &+ Self.prime2, seed, seed &- Self.prime1)
  }

  /// Appends bytes to the stream.
  mutating func update(_ bytes: UnsafeRawBufferPointer) {
    guard var start = bytes.baseAddress, bytes.count > 0 else { return }
    var count = bytes.count
    total &+= UInt64(count)
    if pendingCount > 0 {
      let (place, taken) = (pendingCount, min(32 - pendingCount, count))
      withUnsafeMutableBytes(of: &pending) {
        ($0.baseAddress! + place).copyMemory(from: start, byteCount: taken)
      }
      (start, count, pendingCount) = (start + taken, count - taken, place + taken)
      guard pendingCount == 32 else { return }
      lanes = withUnsafeBytes(of: pending) { [lanes] in Self.mix(lanes, $0.baseAddress!, stripes: 1) }
      pendingCount = 0
    }
    lanes = Self.mix(lanes, start, stripes: count / 32)
    (start, pendingCount) = (start + count / 32 * 32, count % 32)
    let rest = pendingCount
    withUnsafeMutableBytes(of: &pending) { $0.baseAddress!.copyMemory(from: start, byteCount: rest) }
  }

  /// The hash of the stream so far.
  func digest() -> UInt64 {
    var hash = seed &+ Self.prime5
    if total >= 32 {
      hash = Self.rotated(lanes.0, 1) &+ Self.rotated(lanes.1, 7)
      hash = hash &+ Self.rotated(lanes.2, 12) &+ Self.rotated(lanes.3, 18)
      for lane in [lanes.0, lanes.1, lanes.2, lanes.3] {
        hash = (hash ^ Self.round(0, lane)) &* Self.prime1 &+ Self.prime4
      }
    }
    hash &+= total
    return withUnsafeBytes(of: pending) { Self.avalanche(Self.finish(hash, $0.prefix(pendingCount))) }
  }

  /// The digest as other programs print it: 16 hexadecimal digits.
  func hexadecimal() -> String {
    let digits = String(digest(), radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  private static func mix(
    _ lanes: (UInt64, UInt64, UInt64, UInt64), _ start: UnsafeRawPointer, stripes: Int
  ) -> (UInt64, UInt64, UInt64, UInt64) {
    var (a, b, c, d) = lanes
    var place = start
    for _ in 0..<stripes {
      a = round(a, word(place))
      b = round(b, word(place + 8))
      c = round(c, word(place + 16))
      d = round(d, word(place + 24))
      place += 32
    }
    return (a, b, c, d)
  }

  /// Mixes in the last bytes, fewer than 32.
  private static func finish(_ start: UInt64, _ bytes: Slice<UnsafeRawBufferPointer>) -> UInt64 {
    let bytes = UnsafeRawBufferPointer(rebasing: bytes)
    var (hash, place) = (start, 0)
    while bytes.count - place >= 8 {
      hash ^= round(0, UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self)))
      hash = rotated(hash, 27) &* prime1 &+ prime4
      place += 8
    }
    if bytes.count - place >= 4 {
      hash ^= UInt64(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt32.self))) &* prime1
      hash = rotated(hash, 23) &* prime2 &+ prime3
      place += 4
    }
    for byte in bytes[place...] {
      hash = rotated(hash ^ (UInt64(byte) &* prime5), 11) &* prime1
    }
    return hash
  }

  private static func avalanche(_ start: UInt64) -> UInt64 {
    var hash = start
    hash = (hash ^ (hash >> 33)) &* prime2
    hash = (hash ^ (hash >> 29)) &* prime3
    return hash ^ (hash >> 32)
  }

  @inline(__always)
  private static func round(_ lane: UInt64, _ word: UInt64) -> UInt64 {
    rotated(lane &+ word &* prime2, 31) &* prime1
  }

  @inline(__always)
  private static func word(_ place: UnsafeRawPointer) -> UInt64 {
    UInt64(littleEndian: place.loadUnaligned(as: UInt64.self))
  }

  @inline(__always)
  private static func rotated(_ value: UInt64, _ count: UInt64) -> UInt64 {
    value &<< count | value &>> (64 &- count)
  }
}

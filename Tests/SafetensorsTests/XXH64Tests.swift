import Testing

@testable import Safetensors

@Suite("XXH64")
struct XXH64Tests {
  /// The bytes of xxHash's sanity check, `tests/sanity_test.c`: the upper bytes of a multiplicative sequence.
  static let bytes: [UInt8] = {
    var state: UInt64 = 2_654_435_761
    return (0..<1000).map { _ in
      defer { state &*= 11_400_714_785_074_694_797 }
      return UInt8(state >> 56)
    }
  }()

  static func hash(_ bytes: some Sequence<UInt8>, seed: UInt64 = 0) -> UInt64 {
    var hash = XXH64(seed: seed)
    [UInt8](bytes).withUnsafeBytes { hash.update($0) }
    return hash.digest()
  }

  @Test(
    "The published vectors come out",
    arguments: [
      (0, 0xEF46_DB37_51D8_E999, 0xAC75_FDA2_929B_17EF), (1, 0xE934_A84A_DB05_2768, 0x5014_6076_43A9_B4C3),
      (4, 0x9136_A0DC_A574_57EE, 0xCAAB_286B_D8E9_FDB5), (14, 0x8282_DCC4_994E_35C8, 0xC3BD_6BF6_3DEB_6DF0),
      (222, 0xB641_AE8C_B691_C174, 0x20CB_8AB7_AE10_C14A),
    ] as [(Int, UInt64, UInt64)])
  func vectors(_ count: Int, unseeded: UInt64, seeded: UInt64) {
    #expect(Self.hash(Self.bytes.prefix(count)) == unseeded)
    #expect(Self.hash(Self.bytes.prefix(count), seed: 2_654_435_761) == seeded)
  }

  @Test("Known texts have the digests that xxhsum prints")
  func texts() {
    #expect(Self.hash("a".utf8) == 0xD24E_C4F1_A98C_6E5B)
    #expect(Self.hash("abc".utf8) == 0x44BC_2CF5_AD77_0999)
    #expect(Self.hash("Nobody inspects the spammish repetition".utf8) == 0xFBCE_A83C_8A37_8BF1)
    #expect(XXH64().hexadecimal() == "ef46db3751d8e999")
  }

  @Test("Pieces of any size and alignment have the hash of the whole")
  func pieces() {
    var random = SplitMix64(state: 1)
    for _ in 0..<500 {
      let bytes = Self.bytes[Int.random(in: 0..<8, using: &random)..<Int.random(in: 8...1000, using: &random)]
      var hash = XXH64()
      var rest = bytes
      while !rest.isEmpty {
        let part = rest.prefix(Int.random(in: 0...70, using: &random))
        part.withUnsafeBytes { hash.update($0) }
        rest = rest.dropFirst(part.count)
      }
      #expect(hash.digest() == Self.hash(bytes))
    }
  }

  @Test("Every flipped bit changes the hash")
  func flips() {
    let bytes = [UInt8](Self.bytes.prefix(100))
    let whole = Self.hash(bytes)
    for bit in 0..<800 {
      var flipped = bytes
      flipped[bit / 8] ^= 1 << (bit % 8)
      #expect(Self.hash(flipped) != whole)
    }
  }
}

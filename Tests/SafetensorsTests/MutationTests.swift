import Testing

@testable import Safetensors

@Suite("Damaged files")
struct MutationTests {
  let directory = TemporaryDirectory()

  /// A file with a few tensors and metadata.
  private func original(hasChecksums: Bool) throws -> [UInt8] {
    let tensors = [
      Tensor(name: "a", dtype: .f32, shape: [3, 5], bytes: (0..<60).map { $0 &* 37 }),
      Tensor(name: "b \"\\ 🎈", dtype: .bf16, shape: [2, 2], bytes: (0..<8).map { $0 }),
      Tensor(name: "none", dtype: .i64, shape: [0, 4], bytes: []),
      Tensor(name: "scalar", dtype: .u64, shape: [], bytes: [1, 0, 0, 0, 0, 0, 0, 0]),
      Tensor(name: "spaces", dtype: .u8, shape: [40], bytes: [UInt8](repeating: UInt8(ascii: " "), count: 40)),
    ]
    try write(tensors, to: directory / "a", metadata: ["step": "100", "\n": "é"], hasChecksums: hasChecksums)
    return contents(directory / "a")
  }

  /// One kind of damage after another.
  private func damaged(_ bytes: [UInt8], _ kind: Int, _ random: inout SplitMix64) -> [UInt8] {
    var result = bytes
    let length = Int(bytes[0]) + 256 * Int(bytes[1])
    func place(_ range: Range<Int>) -> Int { Int.random(in: range, using: &random) }
    switch kind % 8 {
    case 0: result[place(0..<bytes.count)] ^= 1 << place(0..<8)
    case 1: result[place(8..<8 + length)] ^= 1 << place(0..<8)
    case 2: result.removeLast(place(1..<bytes.count + 1))
    case 3: result[place(0..<8)] = UInt8(place(0..<256))
    case 4:
      let digits = bytes.indices.filter { $0 >= 8 && $0 < 8 + length && 0x30...0x39 ~= bytes[$0] }
      for _ in 0..<place(1..<4) { result[digits[place(0..<digits.count)]] = UInt8(0x30 + place(0..<10)) }
    case 5:
      let (start, other) = (place(0..<bytes.count), place(0..<bytes.count))
      result.replaceSubrange(
        start..<min(bytes.count, start + place(0..<20)), with: bytes[other...].prefix(place(0..<20)))
    case 6:
      let marks = [UInt8]("{}[]\",:\\u0-9eE. \n\u{0}".utf8)
      result[place(8..<8 + length)] = marks[place(0..<marks.count)]
    default: result.append(contentsOf: bytes.prefix(place(1..<64)))
    }
    return result
  }

  /// Opens, verifies and reads, and says whether all of that went well.
  private func isAccepted(verified: Bool) -> Bool {
    do {
      let file = try SafetensorsFile(path: directory / "a")
      if verified { try file.verify() }
      _ = try file.loadAll()
      return true
    } catch { return false }
  }

  @Test("1000 damaged files with checksums are all refused")
  func withChecksums() throws {
    let bytes = try original(hasChecksums: true)
    #expect(isAccepted(verified: true))
    var random = SplitMix64(state: 3)
    for kind in 0..<1000 {
      let mutation = damaged(bytes, kind, &random)
      guard mutation != bytes else { continue }
      create(directory / "a", mutation)
      #expect(!isAccepted(verified: true), "mutation \(kind)")
    }
  }

  @Test("1000 damaged files without checksums are refused or read, and never trap")
  func withoutChecksums() throws {
    let bytes = try original(hasChecksums: false)
    var random = SplitMix64(state: 4)
    var refused = 0
    for kind in 0..<1000 {
      create(directory / "a", damaged(bytes, kind, &random))
      if !isAccepted(verified: false) { refused += 1 }
    }
    // Flips in the data, in names and in padding are not found, nor digits of metadata.
    #expect(refused > 500)
    #expect(refused < 1000)
  }

  @Test("Every single flipped bit of a file with checksums is found")
  func everyBit() throws {
    let bytes = try original(hasChecksums: true)
    for bit in 0..<bytes.count * 8 {
      var mutation = bytes
      mutation[bit / 8] ^= 1 << (bit % 8)
      create(directory / "a", mutation)
      #expect(!isAccepted(verified: true), "bit \(bit)")
    }
  }
}

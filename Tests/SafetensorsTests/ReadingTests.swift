#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif
import Testing

@testable import Safetensors

@Suite("Reading")
struct ReadingTests {
  let directory = TemporaryDirectory()

  @Test("A header has at most 100 MB, in a file that is larger")
  func longHeader() {
    create(directory / "a", [UInt8](withUnsafeBytes(of: UInt64(100_000_001).littleEndian) { [UInt8]($0) }))
    truncate(directory / "a", 200_000_000)
    let text = message(in: directory) { _ = try SafetensorsFile(path: directory / "a") }
    #expect(text == "a must have a header of at most 100000000 bytes, got 100000001")
  }

  @Test("Damaged data are found when they are verified")
  func damagedData() throws {
    let tensor = Tensor(name: "w", dtype: .f32, shape: [600_000], bytes: [UInt8](repeating: 7, count: 2_400_000))
    try write([tensor], to: directory / "a")
    var bytes = contents(directory / "a")
    bytes[bytes.count - 1] ^= 0x80
    create(directory / "a", bytes)
    let file = try SafetensorsFile(path: directory / "a")
    let text = message(in: directory) { try file.verify() }
    #expect(text.hasPrefix("a must match its checksums, got data with XXH64 "))
    #expect(text.hasSuffix("it is damaged, was edited by another program, or was written while it was read"))
  }

  @Test("What is read verified is what was written, whichever tensors are kept")
  func verifiedTensors() throws {
    let tensors = RoundTripTests.tensors()
    try write(tensors, to: directory / "a")
    let file = try SafetensorsFile(path: directory / "a")
    for kept in [tensors, tensors.filter { $0.dtype == .f32 }, []] {
      var storage = [UInt8](repeating: 0xAA, count: kept.map(\.bytes.count).reduce(0, +))
      try storage.withUnsafeMutableBytes { storage in
        var end = 0
        try file.readVerified(
          kept.map { tensor in
            end += tensor.bytes.count
            let range = end - tensor.bytes.count..<end
            return (tensor.name, UnsafeMutableRawBufferPointer(rebasing: storage[range]))
          })
      }
      #expect(storage == kept.flatMap(\.bytes))
    }
  }

  @Test(
    "A file that is written over after it was opened is an error, and no mixture", arguments: [0, 300_000, 599_999])
  func overwritten(from place: Int) throws {
    let files = ([1, 2] as [UInt8]).map {
      Tensor(name: "w", dtype: .u8, shape: [600_000], bytes: [UInt8](repeating: $0, count: 600_000))
    }
    try write([files[1]], to: directory / "b")
    try write([files[0]], to: directory / "a")
    let file = try SafetensorsFile(path: directory / "a")
    let (other, stream) = (contents(directory / "b"), fopen(directory / "a", "r+")!)
    let start = other.count - 600_000 + place
    fseek(stream, start, SEEK_SET)
    #expect(fwrite([UInt8](other[start...]), 1, other.count - start, stream) == other.count - start)
    fclose(stream)
    var bytes = [UInt8](repeating: 0, count: 600_000)
    let text = message(in: directory) { try bytes.withUnsafeMutableBytes { try file.readVerified([("w", $0)]) } }
    #expect(text.hasPrefix("a must match its checksums, got data"))
  }

  @Test("A file without checksums cannot be verified, and says so")
  func nothingToVerify() throws {
    try write([], to: directory / "a", hasChecksums: false)
    let file = try SafetensorsFile(path: directory / "a")
    #expect(message(in: directory) { try file.verify() } == "a must have checksums in its metadata, got none")
  }

  @Test("A file that becomes shorter is an error, not a signal")
  func shortened() throws {
    try write(
      [Tensor(name: "w", dtype: .u8, shape: [9000], bytes: .init(repeating: 7, count: 9000))], to: directory / "a")
    let file = try SafetensorsFile(path: directory / "a")
    let size = contents(directory / "a").count
    truncate(directory / "a", off_t(size - 1))
    let wanted = "a must have 9000 bytes from byte \(size - 9000) on, got 8999; it was cut while it was open"
    #expect(message(in: directory) { _ = try file.load("w") } == wanted)
    #expect(message(in: directory) { try file.verify() } == wanted)
    var bytes = [UInt8](repeating: 0, count: 9000)
    #expect(
      message(in: directory) { try bytes.withUnsafeMutableBytes { try file.readVerified([("w", $0)]) } } == wanted)
  }

  @Test("What is asked for must be there, and have room")
  func requests() throws {
    try write([Tensor(name: "w", dtype: .u8, shape: [4], bytes: [1, 2, 3, 4])], to: directory / "a")
    let file = try SafetensorsFile(path: directory / "a")
    #expect(message(in: directory) { _ = try file.load("v") } == "a must have a tensor \"v\", got 1 other tensors")
    var bytes = [UInt8](repeating: 0, count: 5)
    bytes.withUnsafeMutableBytes { buffer in
      let uses = [{ try file.read("w", into: buffer) }, { try file.readVerified([("w", buffer)]) }]
      for use in uses {
        #expect(message(in: directory, use) == "buffer must have the 4 bytes of tensor \"w\", got 5")
      }
    }
  }

  @Test("What is not a regular file is refused at once")
  func irregular() {
    mkfifo(directory / "fifo", 0o600)
    let cases = [
      ("none", "none must be readable, got No such file or directory (errno 2)"),
      ("fifo", "fifo must be a regular file, got a FIFO"), (".", ". must be a regular file, got a directory"),
      ("fifo/a", "fifo/a must be readable, got Not a directory (errno 20)"),
    ]
    for (name, wanted) in cases {
      #expect(message(in: directory) { _ = try SafetensorsFile(path: directory / name) } == wanted)
    }
    let device = message(in: directory) { _ = try SafetensorsFile(path: "/dev/zero") }
    #expect(device == "/dev/zero must be a regular file, got a device")
    for (path, shown) in [("", "\"\""), ("a\u{0}b", "\"a\\0b\"")] {
      let text = message(in: directory) { _ = try SafetensorsFile(path: path) }
      #expect(text == "path must not be empty or contain a NUL, got \(shown)")
    }
  }

  // To compare such texts as `String`s takes quadratic time: hours.
  @Test(
    "Names of a million combining marks take no time, and are cut in messages",
    arguments: [
      ("{\"__metadata__\":{\"", "\":\"\"}}"), ("{\"", "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}"),
      ("{\"", "\":{}}"), ("{\"a\":{\"", "\":0}}"), ("{\"a\":{\"dtype\":\"", "\"}}"),
      ("{\"__metadata__\":{\"speediff.data_xxh64\":\"\",\"speediff.header_xxh64\":\"", "\"}}"),
    ])
  func combiningMarks(_ before: String, after: String) {
    let marks = String(repeating: "\u{301}\u{323}\u{345}", count: 333_333)
    create(directory / "a", bytes(before + marks + after))
    let text = message(in: directory) {
      let file = try SafetensorsFile(path: directory / "a")
      #expect((file.names + file.metadata.keys).map(\.utf8.count) == [marks.utf8.count])
      #expect(file.metadata[marks] == "" || file.metadata.keys.isEmpty)
    }
    #expect(text.utf8.count < 800)
  }
}

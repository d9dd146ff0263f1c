import Testing

@testable import Safetensors

@Suite("Files of ours and of others")
struct RoundTripTests {
  let directory = TemporaryDirectory()

  static let shapes: [[Int]] = [[], [1], [7], [0], [3, 0, 2], [2, 3, 5], [1, 1, 1, 1, 1, 4]]

  /// Tensors of every dtype and shape, in a mixed order.
  static func tensors() -> [Tensor] {
    var random = SplitMix64(state: 2)
    return TensorDType.allCases.flatMap { dtype in
      shapes.enumerated().map { i, shape in
        let bytes = (0..<shape.reduce(dtype.size, *)).map { _ in UInt8.random(in: 0...255, using: &random) }
        return Tensor(name: "\(i).\(dtype.rawValue)", dtype: dtype, shape: shape, bytes: bytes)
      }
    }.shuffled(using: &random)
  }

  @Test("All dtypes and shapes are read as they were written", arguments: [true, false])
  func roundTrip(_ hasChecksums: Bool) throws {
    let (tensors, path) = (Self.tensors(), directory / "a")
    let metadata = ["step": "12", "é": "\u{0}\u{1F}\"\\/\u{7F}🎈", "": ""]
    try write(tensors, to: path, metadata: metadata, hasChecksums: hasChecksums)
    let file = try SafetensorsFile(path: path)
    #expect(file.metadata.all == metadata)
    #expect(file.hasChecksums == hasChecksums)
    #expect(try tensors.map(\.name).map(file.load) == tensors)
    if hasChecksums { try file.verify() }
  }

  @Test("The order given does not change a byte, data start at 64, tensors at multiples of their element's size")
  func determinism() throws {
    let tensors = Self.tensors()
    try write(tensors, to: directory / "a", metadata: ["x": "1", "y": "2"])
    try write(tensors.reversed(), to: directory / "b", metadata: ["y": "2", "x": "1"])
    let bytes = contents(directory / "a")
    #expect(bytes == contents(directory / "b"))
    let file = try SafetensorsFile(path: directory / "a")
    #expect((bytes.count - (file.tensors.last?.range.upperBound ?? 0)) % 64 == 0)
    for tensor in file.tensors { #expect(tensor.range.lowerBound % tensor.dtype.size == 0) }
  }

  @Test("A file without tensors is one")
  func empty() throws {
    try write([], to: directory / "a", metadata: ["a": "b"])
    let file = try SafetensorsFile(path: directory / "a")
    try file.verify()
    #expect(file.names == [] && file.metadata.all == ["a": "b"])
    #expect(try SafetensorsFile(path: fixture("empty.safetensors")).names == [])
  }

  @Test("The Python package's file of every dtype is read, and written as the Python package does")
  func python() throws {
    let file = try SafetensorsFile(path: fixture("dtypes.safetensors"))
    #expect(file.metadata.all == ["format": "pt"])
    #expect(!file.hasChecksums)
    // The order and formula of make_fixtures.py.
    let names = [
      "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16",
      "uint8", "bool",
    ]
    #expect(file.names.count == 3 * names.count)
    for (number, (name, dtype)) in zip(names, TensorDType.allCases).enumerated() {
      for shape in [[2, 3], [], [5, 0]] {
        let count = shape.reduce(dtype.size, *)
        let bytes = (0..<count).map { UInt8((7 * $0 + number) % (dtype == .bool ? 2 : 256)) }
        let wanted = Tensor(name: "\(name).\(shape.count).\(count)", dtype: dtype, shape: shape, bytes: bytes)
        #expect(try file.load(wanted.name) == wanted)
      }
    }
    try write(file.loadAll(), to: directory / "a", metadata: file.metadata.all, hasChecksums: false)
    #expect(parts(contents(directory / "a")) == parts(contents(fixture("dtypes.safetensors"))))
  }

  /// The JSON without its padding, which differs, and the data.
  private func parts(_ file: [UInt8]) -> [[UInt8]] {
    let length = file[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
    let padding = file[..<(8 + length)].reversed().prefix { $0 == UInt8(ascii: " ") }.count
    return [[UInt8](file[8..<(8 + length - padding)]), [UInt8](file[(8 + length)...])]
  }

  @Test("Names with escapes and beyond ASCII are those of the Python package")
  func names() throws {
    let texts = [
      "quote \" and backslash \\", "controls \u{0} \u{8} \t \n \u{C} \r \u{1F} \u{7F}", "é, e\u{301}, 漢字, 🎈", "",
    ]
    let file = try SafetensorsFile(path: fixture("names.safetensors"))
    for (i, text) in texts.enumerated() { #expect(try file.load(text).bytes == [UInt8(i)]) }
    // Python reverses code points, not characters.
    let reversed = texts.map { text in
      var result = ""
      result.unicodeScalars.append(contentsOf: text.unicodeScalars.reversed())
      return result
    }
    #expect(file.metadata.all == Dictionary(uniqueKeysWithValues: zip(texts, reversed)))
    try write(file.loadAll(), to: directory / "a", metadata: file.metadata.all)
    let copy = try SafetensorsFile(path: directory / "a")
    #expect(try copy.loadAll() == file.loadAll())
    #expect(copy.metadata.all == file.metadata.all)
  }

  @Test("Names are told apart by their bytes, not as text")
  func exactNames() throws {
    let tensors = ["e\u{301}", "\u{E9}"].map { Tensor(name: $0, dtype: .u8, shape: [], bytes: [UInt8($0.utf8.count)]) }
    try write(tensors, to: directory / "a")
    let file = try SafetensorsFile(path: directory / "a")
    #expect(try file.load("e\u{301}").bytes == [3])
    #expect(try file.load("\u{E9}").bytes == [2])
  }

  @Test("Every escape of JSON is understood, and white space between its parts")
  func escapes() throws {
    let json =
      #"{ "__metadata__" : {"\"\\\/\b\f\n\r\t" : "\u0041\u00e9\uD83C\uDF88\u0000\uFFFF"} , "#
      + "\"a\":\t{\"shape\":[ ],\r\n\"data_offsets\":[ 0 ,1],\"dtype\":\"U8\"}}  \n "
    create(directory / "a", bytes(json, data: [5]))
    let file = try SafetensorsFile(path: directory / "a")
    #expect(file.metadata.all == ["\"\\/\u{8}\u{C}\n\r\t": "Aé🎈\u{0}\u{FFFF}"])
    #expect(try file.load("a").bytes == [5])
  }

  @Test("The checksums are those that xxhsum finds")
  func checksums() throws {
    try write(Self.tensors(), to: directory / "a", metadata: ["a": "b"])
    var bytes = contents(directory / "a")
    let length = bytes[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
    let text = String(decoding: bytes[..<(8 + length)], as: UTF8.self)
    let data = XXH64Tests.hash(bytes[(8 + length)...])
    #expect(text.contains("\"speediff.data_xxh64\":\"\(hexadecimal(data))\""))
    let key = [UInt8]("\"speediff.header_xxh64\":\"".utf8)
    let start = try #require((0..<length).first { bytes[$0...].starts(with: key) }) + key.count
    let recorded = String(decoding: bytes[start..<start + 16], as: UTF8.self)
    bytes.replaceSubrange(start..<start + 16, with: [UInt8](repeating: UInt8(ascii: "0"), count: 16))
    #expect(recorded == hexadecimal(XXH64Tests.hash(bytes[..<(8 + length)])))
  }

  private func hexadecimal(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}

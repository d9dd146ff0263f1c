import Testing

@testable import Safetensors

/// A file that breaks a rule, and what its error says.
struct Hostile: Sendable, CustomTestStringConvertible {
  var bytes: [UInt8]
  var message: String

  init(_ bytes: [UInt8], _ message: String) {
    self.bytes = bytes
    self.message = message
  }

  /// A file with a JSON.
  init(_ json: String, data: Int = 0, _ message: String) {
    self.init(SafetensorsTests.bytes(json, data: [UInt8](repeating: 1, count: data)), message)
  }

  /// A file with one tensor of these fields.
  init(tensor fields: String, data: Int = 4, _ message: String) {
    self.init("{\"w\":{\(fields)}}", data: data, message)
  }

  var testDescription: String { message }
}

@Suite("Hostile headers")
struct HostileHeaderTests {
  let directory = TemporaryDirectory()

  private func expect(_ file: Hostile) {
    create(directory / "a", file.bytes)
    #expect(message(in: directory) { _ = try SafetensorsFile(path: directory / "a") } == "a must " + file.message)
  }

  @Test(
    "The length of a header is checked before memory is taken for it",
    arguments: [
      Hostile([], "have at least 8 bytes, got 0"),
      Hostile([1, 0, 0, 0, 0, 0, 0], "have at least 8 bytes, got 7"),
      Hostile([3, 0, 0, 0, 0, 0, 0, 0, 0x7B, 0x7D], "have a header of at most 2 bytes, got 3"),
      Hostile([0, 0, 0, 0, 0, 0, 0, 0x80, 0x7B], "have a header of at most 1 bytes, got \(UInt64(1) << 63)"),
      Hostile([UInt8](repeating: 255, count: 16), "have a header of at most 8 bytes, got \(UInt64.max)"),
      Hostile([0, 0, 0, 0, 0, 0, 0, 0], "have '{' at byte 0 of its header, got the header's end"),
    ])
  func length(_ file: Hostile) { expect(file) }

  @Test(
    "A header is JSON of the format's kind",
    arguments: [
      Hostile(" {}", "have '{' at byte 0 of its header, got ' '"),
      Hostile("[]", "have '{' at byte 0 of its header, got '['"),
      Hostile("{", "have a string at byte 1 of its header, got the header's end"),
      Hostile("{}x", "have its end or a space at byte 2 of its header, got 'x'"),
      Hostile("{}{}", "have its end or a space at byte 2 of its header, got '{'"),
      Hostile("{,}", "have a string at byte 1 of its header, got ','"),
      Hostile("{1:2}", "have a string at byte 1 of its header, got '1'"),
      Hostile("{\"a\"}", "have ':' at byte 4 of its header, got '}'"),
      Hostile("{\"a\":1}", "have '{' at byte 5 of its header, got '1'"),
      Hostile("{\"a\":null}", "have '{' at byte 5 of its header, got 'n'"),
      Hostile("{\"__metadata__\":{},}", "have a string at byte 19 of its header, got '}'"),
      Hostile("{\"__metadata__\":{} \"a\"", "have ',' or '}' at byte 19 of its header, got '\\\"'"),
      Hostile("{\"__metadata__\":[]}", "have '{' at byte 16 of its header, got '['"),
      Hostile("{\"__metadata__\":{\"a\":1}}", "have a string at byte 21 of its header, got '1'"),
      Hostile("{\"__metadata__\":{\"a\":{\"b\":\"c\"}}}", "have a string at byte 21 of its header, got '{'"),
      Hostile("{\"__metadata__\":{},\"__metadata__\":{}}", "not repeat a name, got \"__metadata__\" twice"),
      Hostile(
        "{\"__metadata__\":{\"a\":\"\",\"\\u0061\":\"\"}}", "not repeat a key of its metadata, got \"a\" twice"),
      Hostile(
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},\"\\u0061\":{}}",
        "not repeat a name, got \"a\" twice"),
      Hostile(
        String(repeating: "{\"a\":", count: 100_000),
        "have dtype, shape and data_offsets alone for tensor \"a\", got \"a\""),
      Hostile(
        "{\"a\":{\"shape\":" + String(repeating: "[", count: 100_000),
        "have an integer of at least 0 at byte 15 of its header, got '['"),
    ])
  func json(_ file: Hostile) { expect(file) }

  @Test(
    "Strings are valid, closed, and escaped by the rules",
    arguments: [
      Hostile("{\"a", "have a closing quotation mark at byte 3 of its header, got the header's end"),
      Hostile("{\"\\", "have an escape at byte 3 of its header, got the header's end"),
      Hostile("{\"\\x\"", "have an escape at byte 3 of its header, got 'x'"),
      Hostile("{\"\\u00g0\"", "have a hexadecimal digit at byte 6 of its header, got 'g'"),
      Hostile("{\"\\u00", "have a hexadecimal digit at byte 6 of its header, got the header's end"),
      Hostile("{\"\\uD83C\"", "have surrogates in pairs in its header, got a lone one at byte 2"),
      Hostile("{\"\\uDF88\\uD83C\"", "have surrogates in pairs in its header, got a lone one at byte 2"),
      Hostile("{\"\\uD83C\\uD83C\"", "have surrogates in pairs in its header, got a lone one at byte 2"),
      Hostile("{\"\\uD83C\\u0041\"", "have surrogates in pairs in its header, got a lone one at byte 2"),
      Hostile("{\"a\nb\"", "have a character of at least 0x20 at byte 3 of its header, got '\\n'"),
      Hostile("{\"\\n\u{0}\"", "have a character of at least 0x20 at byte 4 of its header, got '\\0'"),
    ])
  func strings(_ file: Hostile) { expect(file) }

  @Test(
    "Strings are valid UTF-8, with escapes and without",
    arguments: [
      // A byte alone, a start alone, an overlong slash, a surrogate, a code point above the last, and no UTF-8 at all.
      [0x80], [0xC3], [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xFF],
    ] as [[UInt8]])
  func utf8(_ text: [UInt8]) {
    let wanted = "have a header in valid UTF-8, got other bytes in the string at byte 2"
    for escape in ["", "\\n"] {
      let json: [UInt8] = Array("{\"\(escape)".utf8) + text + Array("\":".utf8)
      expect(Hostile(bytes(json, data: []), wanted))
    }
  }

  @Test(
    "Numbers are integers of at least 0 that fit",
    arguments: [
      ("-1", "have an integer of at least 0 at byte 15 of its header, got '-'"),
      ("1.0", "have ',' or ']' at byte 16 of its header, got '.'"),
      ("1e3", "have ',' or ']' at byte 16 of its header, got 'e'"),
      ("01", "have integers without leading zeros in its header, got one at byte 15"),
      ("00", "have integers without leading zeros in its header, got one at byte 15"),
      ("\"1\"", "have an integer of at least 0 at byte 15 of its header, got '\\\"'"),
      ("1 2", "have ',' or ']' at byte 17 of its header, got '2'"),
      ("1,", "have an integer of at least 0 at byte 17 of its header, got ']'"),
      (
        "9223372036854775808",
        "have integers of at most 9223372036854775807 in its header, got a larger one at byte 15"
      ),
      (
        "99999999999999999999999999999999999999",
        "have integers of at most 9223372036854775807 in its header, got a larger one at byte 15"
      ),
    ])
  func numbers(_ number: String, message: String) { expect(Hostile(tensor: "\"shape\":[\(number)]", message)) }

  static let shape = "\"dtype\":\"F32\",\"shape\":"
  static let offsets = "\"data_offsets\":[0,4]"

  @Test(
    "A tensor has a dtype, a shape, and data of their size",
    arguments: [
      Hostile(tensor: "", "have dtype, shape and data_offsets for tensor \"w\", got no dtype"),
      Hostile(
        tensor: "\"dtype\":\"F32\",\(offsets)", "have dtype, shape and data_offsets for tensor \"w\", got no shape"),
      Hostile(tensor: "\(shape)[1]", "have dtype, shape and data_offsets for tensor \"w\", got no data_offsets"),
      Hostile(
        tensor: "\(shape)[1],\(offsets),\"stride\":[1]",
        "have dtype, shape and data_offsets alone for tensor \"w\", got \"stride\""),
      Hostile(
        tensor: "\(shape)[1],\"shape\":[1],\(offsets)", "not repeat a field of tensor \"w\", got \"shape\" twice"),
      Hostile(
        tensor: "\"dtype\":\"F31\"",
        "have a dtype of F64, F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8, BOOL for tensor \"w\", got \"F31\""
      ),
      Hostile(tensor: "\"dtype\":5", "have a string at byte 14 of its header, got '5'"),
      Hostile(
        tensor: "\(shape)[1],\"data_offsets\":[0]",
        "have data_offsets [begin, end] with begin ≤ end for tensor \"w\", got [0]"),
      Hostile(tensor: "\(shape)[1],\"data_offsets\":[0,4,4]", "have ']' at byte 52 of its header, got '4'"),
      Hostile(
        tensor: "\(shape)[1],\"data_offsets\":[4,0]",
        "have data_offsets [begin, end] with begin ≤ end for tensor \"w\", got [4, 0]"),
      Hostile(tensor: "\(shape)[2],\(offsets)", "give tensor \"w\" 8 bytes for F32 [2], got 4 bytes"),
      Hostile(tensor: "\(shape)[],\"data_offsets\":[0,0]", "give tensor \"w\" 4 bytes for F32 [], got 0 bytes"),
      Hostile(tensor: "\(shape)[3,0],\(offsets)", "give tensor \"w\" 0 bytes for F32 [3, 0], got 4 bytes"),
      Hostile(
        tensor: "\(shape)[4611686018427387904,4],\(offsets)",
        "give tensor \"w\" a size that fits 64 bits for F32 [4611686018427387904, 4], got 4 bytes"),
      Hostile(
        tensor: "\(shape)[0,4611686018427387904],\"data_offsets\":[0,0]",
        "give tensor \"w\" a size that fits 64 bits for F32 [0, 4611686018427387904], got 0 bytes"),
      Hostile(
        tensor: "\(shape)[\([String](repeating: "2", count: 64).joined(separator: ","))],\(offsets)",
        "give tensor \"w\" a size that fits 64 bits for F32 64 dimensions, got 4 bytes"),
    ])
  func tensors(_ file: Hostile) { expect(file) }

  /// A header with a byte tensor for each range.
  private static func layout(_ ranges: [(Int, Int)]) -> String {
    let tensors = zip("abc", ranges).map {
      "\"\($0)\":{\"dtype\":\"U8\",\"shape\":[\($1.1 - $1.0)],\"data_offsets\":[\($1.0),\($1.1)]}"
    }
    return "{" + tensors.joined(separator: ",") + "}"
  }

  @Test(
    "Tensors fill the data without holes and overlap",
    arguments: [
      Hostile(
        layout([(1, 2)]), data: 2,
        "have tensors that follow each other without a hole, got \"a\" from byte 1 of the data after 0 bytes"),
      Hostile(
        layout([(5, 6), (0, 4)]), data: 6,
        "have tensors that follow each other without a hole, got \"a\" from byte 5 of the data after 4 bytes"),
      Hostile(
        layout([(0, 4), (3, 6)]), data: 6,
        "have tensors that follow each other without overlap, got \"b\" from byte 3 of the data after 4 bytes"),
      Hostile(
        layout([(0, 4), (0, 4)]), data: 4,
        "have tensors that follow each other without overlap, got \"b\" from byte 0 of the data after 4 bytes"),
      Hostile(
        layout([(0, 4), (2, 2)]), data: 4,
        "have tensors that follow each other without overlap, got \"b\" from byte 2 of the data after 4 bytes"),
      Hostile(layout([(0, 4)]), data: 3, "have 4 bytes of data, as its tensors do, got 3 bytes"),
      Hostile(layout([(0, 4)]), data: 5, "have 4 bytes of data, as its tensors do, got 5 bytes"),
      Hostile(layout([]), data: 1, "have 0 bytes of data, as its tensors do, got 1 bytes"),
      Hostile(
        layout([(0, .max)]), data: 1, "have 9223372036854775807 bytes of data, as its tensors do, got 1 bytes"),
    ])
  func layouts(_ file: Hostile) { expect(file) }

  @Test(
    "Checksums come in pairs, and fit",
    arguments: [
      Hostile(
        "{\"__metadata__\":{\"speediff.data_xxh64\":\"ef46db3751d8e999\"}}",
        "have both checksums in its metadata, or none, got speediff.data_xxh64 alone"),
      Hostile(
        "{\"__metadata__\":{\"speediff.header_xxh64\":\"ef46db3751d8e999\"}}",
        "have both checksums in its metadata, or none, got speediff.header_xxh64 alone"),
      Hostile(
        "{\"__metadata__\":{\"speediff.header_xxh64\":\"\",\"speediff.data_xxh64\":\"\"}}",
        // The digest is that of Python's xxhash 4.1.0 over the length and the JSON.
        "match its checksums, got a header with XXH64 102155d9d61ed529 where \"\" is recorded; "
          + "it is damaged, was edited by another program, or was written while it was read"),
    ])
  func checksums(_ file: Hostile) { expect(file) }
}

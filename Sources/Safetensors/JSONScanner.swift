/// Scans the JSON of a header: strings, integers and punctuation, all that the format allows.
///
/// It never recurses, and reads each byte at most a fixed number of times.
struct JSONScanner {
  let path: String
  private let bytes: [UInt8]
  /// How many bytes have been read.
  private(set) var position = 0

  init(_ bytes: [UInt8], path: String) {
    self.bytes = bytes
    self.path = path
  }

  /// Skips white space, and takes a punctuation mark if it comes next.
  mutating func takes(_ mark: Unicode.Scalar) -> Bool {
    skipSpace()
    guard position < bytes.count, bytes[position] == UInt8(ascii: mark) else { return false }
    position += 1
    return true
  }

  /// Takes a punctuation mark.
  mutating func expect(_ mark: Unicode.Scalar) throws {
    guard takes(mark) else { throw missing("'\(mark)'") }
  }

  /// Skips white space up to the end.
  mutating func expectEnd() throws {
    skipSpace()
    guard position == bytes.count else { throw missing("its end or a space") }
  }

  /// Calls `body` at each element of a list in brackets or braces; the opening one has been taken.
  mutating func forEachElement(until end: Unicode.Scalar, _ body: (inout Self) throws -> Void) throws {
    if takes(end) { return }
    while true {
      try body(&self)
      if takes(end) { return }
      guard takes(",") else { throw missing("',' or '\(end)'") }
    }
  }

  /// Takes an integer from 0 to `Int.max`.
  mutating func integer() throws -> Int {
    skipSpace()
    let start = position
    var value = 0
    while position < bytes.count, case let digit = bytes[position] &- UInt8(ascii: "0"), digit < 10 {
      let (product, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = product.addingReportingOverflow(Int(digit))
      guard !overflow, !carry else {
        throw fault("must have integers of at most \(Int.max) in its header", got: "a larger one at byte \(start)")
      }
      value = sum
      position += 1
    }
    guard position > start else { throw missing("an integer of at least 0") }
    guard bytes[start] != UInt8(ascii: "0") || position == start + 1 else {
      throw fault("must have integers without leading zeros in its header", got: "one at byte \(start)")
    }
    return value
  }

  /// Takes a string.
  mutating func string() throws -> String { try locatedString().text }

  /// Takes a string, and returns the range of its bytes without the quotation marks.
  mutating func locatedString() throws -> (text: String, range: Range<Int>) {
    skipSpace()
    guard takes("\"") else { throw missing("a string") }
    let start = position
    while position < bytes.count, bytes[position] != UInt8(ascii: "\""), bytes[position] != UInt8(ascii: "\\") {
      try checkCharacter()
    }
    var text: String?
    if position < bytes.count, bytes[position] == UInt8(ascii: "\"") {
      text = String(validating: bytes[start..<position], as: UTF8.self)
    } else {
      var decoded = [UInt8](bytes[start..<position])
      while position < bytes.count, bytes[position] != UInt8(ascii: "\"") {
        if bytes[position] == UInt8(ascii: "\\") {
          decoded += UTF8.encode(try escape())!
        } else {
          decoded.append(bytes[position])
          try checkCharacter()
        }
      }
      text = String(validating: decoded, as: UTF8.self)
    }
    let end = position
    guard takes("\"") else { throw missing("a closing quotation mark") }
    guard let text else {
      throw fault("must have a header in valid UTF-8", got: "other bytes in the string at byte \(start)")
    }
    return (text, start..<end)
  }

  private mutating func checkCharacter() throws {
    guard bytes[position] >= 0x20 else { throw missing("a character of at least 0x20") }
    position += 1
  }

  /// Takes what follows a backslash, or a pair of surrogates.
  private mutating func escape() throws -> Unicode.Scalar {
    let start = position
    position += 1
    guard position < bytes.count else { throw missing("an escape") }
    position += 1
    switch Unicode.Scalar(bytes[position - 1]) {
    case "\"": return "\""
    case "\\": return "\\"
    case "/": return "/"
    case "b": return "\u{8}"
    case "f": return "\u{C}"
    case "n": return "\n"
    case "r": return "\r"
    case "t": return "\t"
    case "u":
      let unit = try hexadecimal()
      if let scalar = Unicode.Scalar(unit) { return scalar }
      if unit < 0xDC00, position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"),
        bytes[position + 1] == UInt8(ascii: "u")
      {
        position += 2
        let low = try hexadecimal()
        if 0xDC00...0xDFFF ~= low, let scalar = Unicode.Scalar(0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00)) {
          return scalar
        }
      }
      throw fault("must have surrogates in pairs in its header", got: "a lone one at byte \(start)")
    default:
      position = start + 1
      throw missing("an escape")
    }
  }

  private mutating func hexadecimal() throws -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard position < bytes.count, let digit = Character(Unicode.Scalar(bytes[position])).hexDigitValue else {
        throw missing("a hexadecimal digit")
      }
      value = value << 4 | UInt32(digit)
      position += 1
    }
    return value
  }

  private mutating func skipSpace() {
    while position < bytes.count {
      switch bytes[position] {
      case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\n"), UInt8(ascii: "\r"): position += 1
      default: return
      }
    }
  }

  /// The error of a header that breaks a rule.
  func fault(_ rule: String, got value: String) -> SafetensorsError {
    .contents(path: path, rule: rule, got: value)
  }

  /// The error of a header with something unexpected next.
  func missing(_ wanted: String) -> SafetensorsError {
    let found =
      position < bytes.count
      ? "'\(Unicode.Scalar(bytes[position]).escaped(asASCII: true))'" : "the header's end"
    return fault("must have \(wanted) at byte \(position) of its header", got: found)
  }
}

/// The header of a file to write, and the order of its tensors.
///
/// The JSON is padded with spaces so that the data start at a multiple of 64 bytes. As in the reference implementation,
/// tensors are sorted by dtype, the largest first, and then by name, so that each starts at a multiple of its element
/// size. The metadata are sorted by key. So the bytes of a file depend only on its contents.
struct HeaderText {
  /// The tensors, in the order of their data.
  let tensors: [TensorSource]
  /// The length and the JSON.
  private(set) var bytes: [UInt8]

  private static let prefix = 8
  private var digits: [String: Int] = [:]

  /// Lays a file out.
  ///
  /// - Throws: `SafetensorsError.argument` if a name or key is repeated or reserved, if a buffer's size does not match its
  ///   shape, or if the header or the data are too large.
  init(metadata: [String: String], tensors: [TensorSource], hasChecksums: Bool) throws {
    for key in [Checksum.dataKey, Checksum.headerKey] where metadata[key] != nil {
      throw SafetensorsError.argument("metadata", rule: "must not have the checksums' keys", got: quoted(key))
    }
    var names = Set<ExactName>()
    for tensor in tensors {
      guard names.insert(ExactName(tensor.name)).inserted else {
        throw SafetensorsError.argument("tensors", rule: "must not repeat a name", got: quoted(tensor.name) + " twice")
      }
      try tensor.check()
    }
    self.tensors = tensors.sorted {
      $0.dtype.rank != $1.dtype.rank ? $0.dtype.rank < $1.dtype.rank : ExactName($0.name).precedes(ExactName($1.name))
    }
    bytes = [UInt8](repeating: 0, count: Self.prefix)
    bytes.append(UInt8(ascii: "{"))
    if hasChecksums {
      append(metadata.merging([Checksum.dataKey: Checksum.blank, Checksum.headerKey: Checksum.blank]) { $1 })
    } else if !metadata.isEmpty {
      append(metadata)
    }
    try appendTensors()
    bytes.append(UInt8(ascii: "}"))
    bytes += [UInt8](repeating: UInt8(ascii: " "), count: (64 - bytes.count % 64) % 64)
    let length = bytes.count - Self.prefix
    guard length <= Header.lengthLimit else {
      throw SafetensorsError.argument(
        "tensors", rule: "must have a header of at most \(Header.lengthLimit) bytes", got: "\(length)")
    }
    withUnsafeBytes(of: UInt64(length).littleEndian) { bytes.replaceSubrange(..<Self.prefix, with: $0) }
  }

  /// Fills in the checksums, if the header has a place for them.
  mutating func seal(dataChecksum: String) {
    guard let dataPlace = digits[Checksum.dataKey], let headerPlace = digits[Checksum.headerKey] else { return }
    bytes.replaceSubrange(dataPlace..<dataPlace + 16, with: dataChecksum.utf8)
    let json = [UInt8](bytes[Self.prefix...])
    let range = headerPlace - Self.prefix..<headerPlace - Self.prefix + 16
    bytes.replaceSubrange(headerPlace..<headerPlace + 16, with: Checksum.ofHeader(json, blanking: range).utf8)
  }

  private mutating func append(_ metadata: [String: String]) {
    append(string: Header.metadataName)
    bytes += ":{".utf8
    let keys = metadata.keys.map { ExactName($0) }.sorted { $0.precedes($1) }
    for (i, key) in keys.map(\.text).enumerated() {
      if i > 0 { bytes.append(UInt8(ascii: ",")) }
      append(string: key)
      bytes.append(UInt8(ascii: ":"))
      if key == Checksum.dataKey || key == Checksum.headerKey { digits[key] = bytes.count + 1 }
      append(string: metadata[key]!)
    }
    bytes += (tensors.isEmpty ? "}" : "},").utf8
  }

  private mutating func appendTensors() throws {
    var begin = 0
    for (i, tensor) in tensors.enumerated() {
      let (end, overflow) = begin.addingReportingOverflow(tensor.bytes.count)
      guard !overflow else {
        throw SafetensorsError.argument("tensors", rule: "must have at most \(Int.max) bytes", got: "more")
      }
      if i > 0 { bytes.append(UInt8(ascii: ",")) }
      append(string: tensor.name)
      let shape = tensor.shape.map(String.init).joined(separator: ",")
      bytes += ":{\"dtype\":\"\(tensor.dtype.rawValue)\",\"shape\":[\(shape)],\"data_offsets\":[\(begin),\(end)]}".utf8
      begin = end
    }
  }

  private mutating func append(string: String) {
    bytes.append(UInt8(ascii: "\""))
    for byte in string.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
      case ..<0x20: bytes += "\\u00\(byte < 16 ? "0" : "")\(String(byte, radix: 16))".utf8
      default: bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }
}

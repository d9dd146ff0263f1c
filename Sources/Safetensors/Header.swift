/// The header of a file, parsed.
///
///     8 bytes   the length of the header, little-endian
///     header    JSON: {"__metadata__": {name: text}, name: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
///     data      the tensors, without gaps, up to the end of the file
///
/// Source: the README of huggingface/safetensors; the rules are those of its `SafeTensors::read_metadata`.
struct Header {
  /// The longest header that the format allows, in bytes.
  static let lengthLimit = 100_000_000

  /// The metadata without the checksums.
  var metadata = SafetensorsMetadata()
  /// The tensors, in the order of their data.
  var tensors: [TensorInfo] = []
  /// The XXH64 of the data, as 16 hexadecimal digits; nil without checksums.
  var dataChecksum: String?

  private var headerChecksum: String?
  private var headerChecksumRange: Range<Int>?

  /// Reads a header.
  ///
  /// - Parameters:
  ///   - bytes: the JSON.
  ///   - dataCount: how many bytes follow it in the file.
  ///   - path: for messages.
  /// - Throws: `SafetensorsError.contents`, which names the first broken rule.
  init(_ bytes: [UInt8], dataCount: Int, path: String) throws {
    var scanner = JSONScanner(bytes, path: path)
    guard bytes.first == UInt8(ascii: "{") else { throw scanner.missing("'{'") }
    var (names, hasMetadata) = (Set<ExactName>(), false)
    try scanner.expect("{")
    try scanner.forEachElement(until: "}") { scanner in
      let name = try scanner.string()
      try scanner.expect(":")
      if ExactName(name) == ExactName(Self.metadataName) {
        guard !hasMetadata else { throw scanner.fault("must not repeat a name", got: quoted(name) + " twice") }
        hasMetadata = true
        try readMetadata(&scanner)
      } else {
        guard names.insert(ExactName(name)).inserted else {
          throw scanner.fault("must not repeat a name", got: quoted(name) + " twice")
        }
        tensors.append(try Self.readTensor(name, &scanner))
      }
    }
    try scanner.expectEnd()
    try verify(bytes, path: path)
    try checkLayout(dataCount: dataCount, path: path)
  }

  static let metadataName = "__metadata__"

  private mutating func readMetadata(_ scanner: inout JSONScanner) throws {
    try scanner.expect("{")
    try scanner.forEachElement(until: "}") { scanner in
      let key = try scanner.string()
      try scanner.expect(":")
      let (value, range) = try scanner.locatedString()
      let isRepeated: Bool
      switch ExactName(key) {
      case ExactName(Checksum.dataKey):
        isRepeated = dataChecksum != nil
        dataChecksum = value
      case ExactName(Checksum.headerKey):
        isRepeated = headerChecksum != nil
        (headerChecksum, headerChecksumRange) = (value, range)
      default: isRepeated = !metadata.insert(key, value)
      }
      guard !isRepeated else {
        throw scanner.fault("must not repeat a key of its metadata", got: quoted(key) + " twice")
      }
    }
  }

  private static func readTensor(_ name: String, _ scanner: inout JSONScanner) throws -> TensorInfo {
    var (dtype, shape, offsets) = (TensorDType?.none, [Int]?.none, [Int]?.none)
    let tensor = "tensor \(quoted(name))"
    try scanner.expect("{")
    try scanner.forEachElement(until: "}") { scanner in
      let field = try scanner.string()
      try scanner.expect(":")
      let isRepeated: Bool
      switch ExactName(field) {
      case "dtype":
        isRepeated = dtype != nil
        let text = try scanner.string()
        dtype = TensorDType.allCases.first { ExactName($0.rawValue) == ExactName(text) }
        guard dtype != nil else {
          let known = TensorDType.allCases.map(\.rawValue).joined(separator: ", ")
          throw scanner.fault("must have a dtype of \(known) for \(tensor)", got: quoted(text))
        }
      case "shape":
        isRepeated = shape != nil
        shape = try integers(&scanner)
      case "data_offsets":
        isRepeated = offsets != nil
        offsets = try integers(&scanner, limit: 2)
      default:
        throw scanner.fault("must have dtype, shape and data_offsets alone for \(tensor)", got: quoted(field))
      }
      guard !isRepeated else {
        throw scanner.fault("must not repeat a field of \(tensor)", got: quoted(field) + " twice")
      }
    }
    guard let dtype, let shape, let offsets else {
      let field = dtype == nil ? "dtype" : shape == nil ? "shape" : "data_offsets"
      throw scanner.fault("must have dtype, shape and data_offsets for \(tensor)", got: "no \(field)")
    }
    guard offsets.count == 2, offsets[0] <= offsets[1] else {
      throw scanner.fault("must have data_offsets [begin, end] with begin ≤ end for \(tensor)", got: "\(offsets)")
    }
    let range = offsets[0]..<offsets[1]
    let wanted = dtype.byteCount(shape: shape)
    guard wanted == range.count else {
      let size = wanted.map { "\($0) bytes" } ?? "a size that fits \(Int.bitWidth) bits"
      throw scanner.fault(
        "must give \(tensor) \(size) for \(dtype.rawValue) \(described(shape))", got: "\(range.count) bytes")
    }
    return TensorInfo(name: name, dtype: dtype, shape: shape, range: range)
  }

  private static func integers(_ scanner: inout JSONScanner, limit: Int = .max) throws -> [Int] {
    var result: [Int] = []
    try scanner.expect("[")
    try scanner.forEachElement(until: "]") { scanner in
      guard result.count < limit else { throw scanner.missing("']'") }
      result.append(try scanner.integer())
    }
    return result
  }

  /// Sorts the tensors by position, and checks that they fill the data.
  private mutating func checkLayout(dataCount: Int, path: String) throws {
    let order = tensors.indices.sorted {
      let (a, b) = (tensors[$0].range, tensors[$1].range)
      return (a.lowerBound, a.upperBound, $0) < (b.lowerBound, b.upperBound, $1)
    }
    tensors = order.map { tensors[$0] }
    var end = 0
    for tensor in tensors {
      let begin = tensor.range.lowerBound
      guard begin == end else {
        throw SafetensorsError.contents(
          path: path, rule: "must have tensors that follow each other without \(begin > end ? "a hole" : "overlap")",
          got: "\(quoted(tensor.name)) from byte \(begin) of the data after \(end) bytes")
      }
      end = tensor.range.upperBound
    }
    guard end == dataCount else {
      throw SafetensorsError.contents(
        path: path, rule: "must have \(end) bytes of data, as its tensors do", got: "\(dataCount) bytes")
    }
  }

  /// Checks the header's checksum, if there is one.
  private func verify(_ bytes: [UInt8], path: String) throws {
    guard (dataChecksum == nil) == (headerChecksum == nil) else {
      throw SafetensorsError.contents(
        path: path, rule: "must have both checksums in its metadata, or none",
        got: dataChecksum == nil ? "\(Checksum.headerKey) alone" : "\(Checksum.dataKey) alone")
    }
    guard let headerChecksum, let headerChecksumRange else { return }
    let found = Checksum.ofHeader(bytes, blanking: headerChecksumRange)
    guard ExactName(found) == ExactName(headerChecksum) else {
      throw Checksum.mismatch("a header", path: path, found: found, recorded: headerChecksum)
    }
  }
}

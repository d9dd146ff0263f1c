/// The two checksums in the metadata, by which any damage to a file is found.
///
/// The data checksum is the XXH64 of all bytes after the header. The header checksum is the XXH64 of all bytes before them,
/// with its own 16 digits taken as zeros. Both are written as 16 hexadecimal digits.
enum Checksum {
  static let dataKey = "speediff.data_xxh64"
  static let headerKey = "speediff.header_xxh64"
  static let blank = String(repeating: "0", count: 16)

  /// The checksum of a header and its length, with the digits of the checksum itself as zeros.
  static func ofHeader(_ json: [UInt8], blanking digits: Range<Int>) -> String {
    var hash = XXH64()
    withUnsafeBytes(of: UInt64(json.count).littleEndian) { hash.update($0) }
    json.withUnsafeBytes {
      hash.update(UnsafeRawBufferPointer(rebasing: $0[..<digits.lowerBound]))
      for _ in digits { withUnsafeBytes(of: UInt8(ascii: "0")) { hash.update($0) } }
      hash.update(UnsafeRawBufferPointer(rebasing: $0[digits.upperBound...]))
    }
    return hash.hexadecimal()
  }

  /// The error for bytes that are not those that were saved. Damage is the likely cause. Another is a program that rewrites
  /// a file and copies its metadata, or that writes to the file while it is read.
  static func mismatch(_ part: String, path: String, found: String, recorded: String) -> SafetensorsError {
    .contents(
      path: path, rule: "must match its checksums",
      got:
        "\(part) with XXH64 \(found) where \(quoted(recorded)) is recorded; it is damaged, was edited by another program, or "
        + "was written while it was read")
  }
}

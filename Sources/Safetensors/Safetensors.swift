/// A tensor to write. Its bytes are borrowed: they must stay valid and unchanged until `Safetensors.write` returns.
public struct TensorSource {
  /// The name, unique in its file; any text but `__metadata__`.
  public let name: String
  /// The type of its elements.
  public let dtype: TensorDType
  /// The dimensions, slowest first, each at least 0; none for a scalar.
  public let shape: [Int]
  /// The elements, row-major and little-endian, with any alignment.
  public let bytes: UnsafeRawBufferPointer

  /// Describes a tensor. `Safetensors.write` checks it.
  public init(name: String, dtype: TensorDType, shape: [Int], bytes: UnsafeRawBufferPointer) {
    self.name = name
    self.dtype = dtype
    self.shape = shape
    self.bytes = bytes
  }

  func check() throws {
    guard name != Header.metadataName else {
      throw SafetensorsError.argument("tensors", rule: "must not have the name of the metadata", got: quoted(name))
    }
    let wanted = dtype.byteCount(shape: shape)
    guard wanted == bytes.count else {
      let size = wanted.map { "\($0) bytes" } ?? "a size that fits \(Int.bitWidth) bits"
      throw SafetensorsError.argument(
        "tensor \(quoted(name))", rule: "must have \(size) for \(dtype.rawValue) \(described(shape))",
        got: "\(bytes.count) bytes")
    }
  }
}

/// The safetensors format: named tensors and text metadata in a file that holds no code.
///
/// Source: https://github.com/huggingface/safetensors.
public enum Safetensors {
  /// Writes a file, or replaces it as a whole.
  ///
  /// The same contents give the same bytes. Two checksums are added to the metadata, `speediff.data_xxh64` and
  /// `speediff.header_xxh64`, by which the reader finds damage; other programs ignore them.
  ///
  /// A kill or power loss at any time leaves the old file or the new one. It may also leave a temporary file beside it,
  /// which the next write to the same path removes. The mode of an existing file is kept; owner and attributes are not. If
  /// the path is a symbolic link, its target is replaced.
  ///
  /// - Parameters:
  ///   - path: the file, in a directory that can be read and written.
  ///   - metadata: any text.
  ///   - tensors: in any order.
  /// - Throws: `SafetensorsError.argument` if a name is repeated or a buffer's size does not match its shape; `.system` or
  ///   `.contents` if the file cannot be written. The file is then unchanged, unless only flushing its directory failed.
  public static func write(to path: String, metadata: [String: String] = [:], tensors: [TensorSource]) throws {
    try write(to: path, metadata: metadata, tensors: tensors, hasChecksums: true)
  }

  static func write(
    to path: String, metadata: [String: String], tensors: [TensorSource], hasChecksums: Bool
  ) throws {
    var header = try HeaderText(metadata: metadata, tensors: tensors, hasChecksums: hasChecksums)
    try FileReplacement.replace(path) { file in
      var (hash, place) = (XXH64(), header.bytes.count)
      for tensor in header.tensors {
        // Hashed in small parts, which are still in the cache when they are written.
        for start in stride(from: 0, to: tensor.bytes.count, by: 1 << 18) {
          let part = UnsafeRawBufferPointer(rebasing: tensor.bytes[start...].prefix(1 << 18))
          hash.update(part)
          try file.write(part, at: place)
          place += part.count
        }
      }
      header.seal(dataChecksum: hash.hexadecimal())
      try header.bytes.withUnsafeBytes { try file.write($0, at: 0) }
    }
  }
}

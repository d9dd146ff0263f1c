#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A safetensors file that is open for reading.
///
/// The header is read and checked at once. Tensors are read when asked for, on any number of threads, with `pread`: a mapped
/// file that another program cuts would end the process. No file, damaged or hostile, is a trap or takes memory beyond a
/// small multiple of its header.
public final class SafetensorsFile: Sendable {
  /// The metadata of the file, without the checksums of this module.
  public let metadata: SafetensorsMetadata
  /// The tensors, in the order of their data.
  public let tensors: [TensorInfo]

  private let descriptor: FileDescriptor
  private let dataStart: Int
  private let dataChecksum: String?
  private let places: [ExactName: Int]

  /// Opens a file, and checks its header, with its checksum if it has one.
  ///
  /// - Throws: `SafetensorsError` if the file cannot be read, is not regular, or breaks a rule of the format: the JSON, the
  ///   names, the dtypes, and tensors that fill the data without holes and overlap, up to the end of the file.
  public init(path: String) throws {
    descriptor = try FileDescriptor.opened(path)
    let status = try descriptor.status()
    guard status.isRegular else {
      throw SafetensorsError.contents(path: path, rule: "must be a regular file", got: status.kind)
    }
    let (size, prefix) = (Int(status.st_size), 8)
    guard size >= prefix else {
      throw SafetensorsError.contents(path: path, rule: "must have at least \(prefix) bytes", got: "\(size)")
    }
    var stored: UInt64 = 0
    try withUnsafeMutableBytes(of: &stored) { [descriptor] in try descriptor.read(into: $0, at: 0) }
    let limit = min(Header.lengthLimit, size - prefix)
    guard let count = Int(exactly: UInt64(littleEndian: stored)), count <= limit else {
      throw SafetensorsError.contents(
        path: path, rule: "must have a header of at most \(limit) bytes", got: "\(UInt64(littleEndian: stored))")
    }
    var json = [UInt8](repeating: 0, count: count)
    try json.withUnsafeMutableBytes { [descriptor] in try descriptor.read(into: $0, at: prefix) }
    let header = try Header(json, dataCount: size - prefix - count, path: path)
    metadata = header.metadata
    tensors = header.tensors
    dataChecksum = header.dataChecksum
    dataStart = prefix + count
    places = Dictionary(uniqueKeysWithValues: header.tensors.enumerated().map { (ExactName($1.name), $0) })
  }

  /// The path that it was opened by.
  public var path: String { descriptor.path }

  /// The names of the tensors, in the order of their data.
  public var names: [String] { tensors.map(\.name) }

  /// Whether it has a tensor of this name.
  public func contains(_ name: String) -> Bool { places[ExactName(name)] != nil }

  /// Whether the file has checksums. Files by other programs have none.
  public var hasChecksums: Bool { dataChecksum != nil }

  /// The dtype, shape and size of a tensor.
  ///
  /// - Throws: `SafetensorsError.contents` if there is none of this name.
  public func tensor(_ name: String) throws -> TensorInfo { tensors[try place(of: name)] }

  /// Reads a tensor, without a look at its checksum.
  ///
  /// - Parameters:
  ///   - name: the name of the tensor.
  ///   - buffer: as many bytes as it has, with any alignment. Undefined after an error.
  /// - Throws: `SafetensorsError` if there is none of this name, if the buffer has another size, or if the file cannot be read
  ///   or has become shorter.
  public func read(_ name: String, into buffer: UnsafeMutableRawBufferPointer) throws {
    let tensor = tensors[try place(of: name, for: buffer)]
    try descriptor.read(into: buffer, at: dataStart + tensor.range.lowerBound)
  }

  /// Reads all data once, and compares the checksum of the bytes that were read with the file's.
  ///
  /// The checksum is that of the buffers themselves, so a file that another program writes over meanwhile is an error, and
  /// never a mixture.
  ///
  /// - Parameter destinations: tensors to keep, each with a buffer of as many bytes as it has. Undefined after an error.
  /// - Throws: `SafetensorsError` as `read(_:into:)`; `.contents` if the checksums differ, or if the file has none
  ///   (`hasChecksums`).
  public func readVerified(_ destinations: [(name: String, buffer: UnsafeMutableRawBufferPointer)]) throws {
    guard let dataChecksum else {
      throw SafetensorsError.contents(path: path, rule: "must have checksums in its metadata", got: "none")
    }
    var buffers: [Int: UnsafeMutableRawBufferPointer] = [:]
    for (name, buffer) in destinations { buffers[try place(of: name, for: buffer)] = buffer }
    // What is hashed is still in the cache.
    let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 64)
    defer { scratch.deallocate() }
    var hash = XXH64()
    for (place, tensor) in tensors.enumerated() {
      for start in stride(from: 0, to: tensor.byteCount, by: scratch.count) {
        let count = min(scratch.count, tensor.byteCount - start)
        let kept = buffers[place].map { UnsafeMutableRawBufferPointer(rebasing: $0[start..<start + count]) }
        let part = kept ?? UnsafeMutableRawBufferPointer(rebasing: scratch[..<count])
        try descriptor.read(into: part, at: dataStart + tensor.range.lowerBound + start)
        hash.update(UnsafeRawBufferPointer(part))
      }
    }
    guard ExactName(hash.hexadecimal()) == ExactName(dataChecksum) else {
      throw Checksum.mismatch("data", path: path, found: hash.hexadecimal(), recorded: dataChecksum)
    }
  }

  /// Reads all data, and compares their checksum.
  ///
  /// - Throws: as `readVerified`.
  public func verify() throws { try readVerified([]) }

  /// Where the tensor of this name is among `tensors`.
  ///
  /// - Throws: `SafetensorsError.contents` if there is none of this name.
  private func place(of name: String) throws -> Int {
    guard let place = places[ExactName(name)] else {
      throw SafetensorsError.contents(
        path: path, rule: "must have a tensor \(quoted(name))", got: "\(tensors.count) other tensors")
    }
    return place
  }

  /// The same, if the buffer has its size.
  private func place(of name: String, for buffer: UnsafeMutableRawBufferPointer) throws -> Int {
    let place = try place(of: name)
    guard buffer.count == tensors[place].byteCount else {
      throw SafetensorsError.argument(
        "buffer", rule: "must have the \(tensors[place].byteCount) bytes of tensor \(quoted(name))",
        got: "\(buffer.count)")
    }
    return place
  }
}

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A safetensors file that is open for reading.
///
/// The header is read and checked on opening; tensors are read on request, from any number of threads. They are read with
/// `pread` and not mapped, because a mapped file that another program truncates kills the process. No file, damaged or
/// hostile, traps or takes memory beyond a small multiple of its header.
public final class SafetensorsFile: Sendable {
  /// The metadata, without the checksums.
  public let metadata: SafetensorsMetadata
  /// The tensors, in the order of their data.
  public let tensors: [TensorInfo]

  private let descriptor: FileDescriptor
  private let dataStart: Int
  private let dataChecksum: String?
  private let places: [ExactName: Int]

  /// Opens a file, and checks its header, with its checksum if it has one.
  ///
  /// - Throws: `SafetensorsError` if the file cannot be read, is not regular, or breaks a rule of the format: valid JSON,
  ///   unique names, known dtypes, and tensors that fill the data up to the end of the file without gap or overlap.
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

  /// The path with which it was opened.
  public var path: String { descriptor.path }

  /// The names of the tensors, in the order of their data.
  public var names: [String] { tensors.map(\.name) }

  /// Whether it has a tensor of this name.
  public func contains(_ name: String) -> Bool { places[ExactName(name)] != nil }

  /// Whether the file has checksums. Files of other programs have none.
  public var hasChecksums: Bool { dataChecksum != nil }

  /// The dtype, shape and size of a tensor.
  ///
  /// - Throws: `SafetensorsError.contents` if there is no tensor of this name.
  public func tensor(_ name: String) throws -> TensorInfo { tensors[try place(of: name)] }

  /// Reads a tensor without verifying it.
  ///
  /// - Parameters:
  ///   - name: the name of the tensor.
  ///   - buffer: as many bytes as it has, with any alignment. Undefined after an error.
  /// - Throws: `SafetensorsError` if there is no tensor of this name, if the buffer has another size, or if the file cannot be
  ///   read or was cut.
  public func read(_ name: String, into buffer: UnsafeMutableRawBufferPointer) throws {
    let tensor = tensors[try place(of: name, for: buffer)]
    try descriptor.read(into: buffer, at: dataStart + tensor.range.lowerBound)
  }

  /// Reads all data once, and verifies the bytes that were read.
  ///
  /// The checksum is computed over the buffers themselves. So a file that another program overwrites meanwhile is an error,
  /// never a mixture.
  ///
  /// - Parameter destinations: the tensors to keep, each with a buffer of its size. Undefined after an error.
  /// - Throws: `SafetensorsError` as `read(_:into:)`; `.contents` if the checksums differ, or if the file has none
  ///   (`hasChecksums`).
  public func readVerified(_ destinations: [(name: String, buffer: UnsafeMutableRawBufferPointer)]) throws {
    guard let dataChecksum else {
      throw SafetensorsError.contents(path: path, rule: "must have checksums in its metadata", got: "none")
    }
    var buffers: [Int: UnsafeMutableRawBufferPointer] = [:]
    for (name, buffer) in destinations { buffers[try place(of: name, for: buffer)] = buffer }
    // Small parts are still in the cache when they are hashed.
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

  /// Reads and verifies all data.
  ///
  /// - Throws: as `readVerified`.
  public func verify() throws { try readVerified([]) }

  /// The index in `tensors` of the tensor of this name.
  ///
  /// - Throws: `SafetensorsError.contents` if there is none.
  private func place(of name: String) throws -> Int {
    guard let place = places[ExactName(name)] else {
      throw SafetensorsError.contents(
        path: path, rule: "must have a tensor \(quoted(name))", got: "\(tensors.count) other tensors")
    }
    return place
  }

  /// The same; the buffer must have the tensor's size.
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

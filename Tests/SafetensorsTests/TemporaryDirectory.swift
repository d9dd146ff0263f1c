#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif
@testable import Safetensors

/// A directory for one test, which is removed with all that is in it.
final class TemporaryDirectory {
  let path: String

  init() {
    var template = Array("/tmp/safetensors-XXXXXX".utf8CString)
    path = template.withUnsafeMutableBufferPointer { String(cString: mkdtemp($0.baseAddress!)) }
  }

  deinit {
    for name in names { unlink(self / name) }
    rmdir(path)
  }

  static func / (directory: TemporaryDirectory, name: String) -> String { directory.path + "/" + name }

  /// What is in it, sorted.
  var names: [String] {
    let stream = opendir(path)!
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }
}

/// All bytes of a file.
func contents(_ path: String) -> [UInt8] {
  let file = fopen(path, "r")!
  defer { fclose(file) }
  fseek(file, 0, SEEK_END)
  var bytes = [UInt8](repeating: 0, count: ftell(file))
  rewind(file)
  precondition(fread(&bytes, 1, bytes.count, file) == bytes.count)
  return bytes
}

/// Makes a file of bytes. A new one: some file systems flush a file that is written again, which takes long.
func create(_ path: String, _ bytes: [UInt8]) {
  unlink(path)
  let file = fopen(path, "w")!
  fwrite(bytes, 1, bytes.count, file)
  fclose(file)
}

/// The permissions of a file.
func mode(_ path: String) -> mode_t {
  var status = stat()
  lstat(path, &status)
  return status.st_mode & 0o7777
}

/// A file of the format from its JSON, as it stands, and data.
func bytes(_ json: String, data: [UInt8] = []) -> [UInt8] { bytes([UInt8](json.utf8), data: data) }

/// The same, from a JSON that need not be valid UTF-8.
func bytes(_ json: [UInt8], data: [UInt8]) -> [UInt8] {
  withUnsafeBytes(of: UInt64(json.count).littleEndian) { [UInt8]($0) } + json + data
}

/// A fixture's path.
func fixture(_ name: String, file: String = #filePath) -> String {
  file.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/") + "/Fixtures/" + name
}

/// A tensor that owns its bytes.
struct Tensor: Equatable {
  var name: String
  var dtype: TensorDType
  var shape: [Int]
  var bytes: [UInt8]
}

/// Writes tensors that own their bytes.
func write(_ tensors: [Tensor], to path: String, metadata: [String: String] = [:], hasChecksums: Bool = true) throws {
  var storage = tensors.flatMap(\.bytes)
  try storage.withUnsafeMutableBytes { all in
    var place = 0
    let sources = tensors.map { tensor in
      defer { place += tensor.bytes.count }
      return TensorSource(
        name: tensor.name, dtype: tensor.dtype, shape: tensor.shape,
        bytes: UnsafeRawBufferPointer(rebasing: all[place..<place + tensor.bytes.count]))
    }
    try Safetensors.write(to: path, metadata: metadata, tensors: sources, hasChecksums: hasChecksums)
  }
}

extension SafetensorsFile {
  /// A tensor with its bytes.
  func load(_ name: String) throws -> Tensor {
    let info = try tensor(name)
    var bytes = [UInt8](repeating: 0xAA, count: info.byteCount)
    try bytes.withUnsafeMutableBytes { try read(name, into: $0) }
    return Tensor(name: info.name, dtype: info.dtype, shape: info.shape, bytes: bytes)
  }

  /// All tensors, in the order of their data.
  func loadAll() throws -> [Tensor] { try names.map(load) }
}

extension SafetensorsMetadata {
  /// All of it.
  var all: [String: String] { Dictionary(uniqueKeysWithValues: keys.map { ($0, self[$0]!) }) }
}

/// The message of the `SafetensorsError` that is thrown, with the directory left out.
func message(in directory: TemporaryDirectory, _ body: () throws -> Void) -> String {
  do {
    try body()
    return "no error"
  } catch let error as SafetensorsError {
    let (text, path) = (error.description, directory.path + "/")
    return text.hasPrefix(path) ? String(text.dropFirst(path.count)) : text
  } catch {
    return "another error: \(error)"
  }
}

/// A small generator of test data: SplitMix64 (Steele, Lea, Flood 2014).
struct SplitMix64: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// An open file, closed when it is released. Reads and writes continue after interruptions and partial transfers.
final class FileDescriptor: Sendable {
  let number: Int32
  /// For messages.
  let path: String

  /// Takes ownership of a descriptor.
  init(_ number: Int32, path: String) {
    self.number = number
    self.path = path
  }

  deinit { close(number) }

  /// Opens a file for reading. A FIFO does not block.
  static func opened(_ path: String) throws -> FileDescriptor {
    try checkPath(path)
    let number = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard number >= 0 else { throw SafetensorsError.system(path, "must be readable") }
    return FileDescriptor(number, path: path)
  }

  /// Its status.
  func status() throws -> stat {
    var result = stat()
    guard fstat(number, &result) == 0 else { throw SafetensorsError.system(path, "must be readable") }
    return result
  }

  /// Reads as many bytes as the buffer holds.
  ///
  /// - Throws: also if the file ends early, because it was cut after it was opened.
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws {
    try transfer(buffer.count, at: offset, rule: "must be readable") {
      pread(number, buffer.baseAddress! + $0, $1, off_t($2))
    }
  }

  /// Writes all bytes of the buffer.
  func write(_ buffer: UnsafeRawBufferPointer, at offset: Int) throws {
    try transfer(buffer.count, at: offset, rule: "must be writable") {
      pwrite(number, buffer.baseAddress! + $0, $1, off_t($2))
    }
  }

  private func transfer(
    _ count: Int, at offset: Int, rule: String, _ call: (_ start: Int, _ count: Int, _ offset: Int) -> Int
  ) throws {
    var done = 0
    while done < count {
      // Linux moves less than 2 GiB at a time, macOS refuses more.
      let moved = call(done, min(count - done, 1 << 30), offset + done)
      if moved > 0 {
        done += moved
      } else if moved == 0 {
        throw SafetensorsError.contents(
          path: path, rule: "must have \(count) bytes from byte \(offset) on",
          got: "\(done); it was cut while it was open")
      } else if errno != EINTR {
        throw SafetensorsError.system(path, rule)
      }
    }
  }

  /// Waits until everything is on the device.
  func synchronize() throws {
    while fsync(number) != 0 {
      guard errno == EINTR else { throw SafetensorsError.system(path, "must be flushed to its device") }
    }
  }

  /// Closes a copy of the descriptor; the file stays open. Some file systems store a file, or report a full disk, only on
  /// close.
  func closeCopy() throws {
    let copy = fcntl(number, F_DUPFD_CLOEXEC, 0)
    guard copy >= 0, close(copy) == 0 || errno == EINTR else {
      throw SafetensorsError.system(path, "must be flushed to its device")
    }
  }
}

/// Rejects paths that C would truncate.
func checkPath(_ path: String) throws {
  guard !path.isEmpty, !path.utf8.contains(0) else {
    throw SafetensorsError.argument("path", rule: "must not be empty or contain a NUL", got: quoted(path))
  }
}

extension stat {
  /// Whether it is a regular file.
  var isRegular: Bool { st_mode & S_IFMT == S_IFREG }

  /// What it is, for messages.
  var kind: String {
    switch st_mode & S_IFMT {
    case S_IFREG: "a regular file"
    case S_IFDIR: "a directory"
    case S_IFLNK: "a symbolic link"
    case S_IFIFO: "a FIFO"
    case S_IFSOCK: "a socket"
    default: "a device"
    }
  }

  /// Whether both are the same file.
  func isSame(as other: stat) -> Bool { st_dev == other.st_dev && st_ino == other.st_ino }
}

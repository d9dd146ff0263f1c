#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Replaces a file as a whole: a temporary file beside it is written, flushed, and renamed.
///
/// The temporary file is named `.NAME.speediff-PID-N.tmp`. Its writer holds a lock on it (`flock`), which ends with the
/// writer. So the next writer of the same file recognizes the leftovers of killed writers, on any host or in any
/// container, and removes them. On file systems without locks they stay.
struct FileReplacement {
  private let path: String
  private let directory: FileDescriptor
  private let name: String
  /// The status of the file that is replaced; nil if there was none.
  private let earlier: stat?

  /// Calls `body` with a new file, and moves it to this path once it is complete.
  ///
  /// - Throws: `SafetensorsError`, or what `body` throws; the temporary file is removed, and the path is unchanged. If
  ///   only flushing the directory fails, the path already has the new file.
  static func replace(_ path: String, _ body: (FileDescriptor) throws -> Void) throws {
    try checkPath(path)
    try FileReplacement(path).run(body)
  }

  private init(_ path: String) throws {
    self.path = path
    let target = try Self.resolved(path)
    let slash = target.utf8.lastIndex(of: UInt8(ascii: "/"))
    name = String(slash.map { target[target.utf8.index(after: $0)...] } ?? target[...])
    guard !["", ".", ".."].contains(name) else {
      throw SafetensorsError.contents(path: path, rule: "must be a regular file", got: "a directory")
    }
    let parent = slash.map { $0 == target.startIndex ? "/" : String(target[..<$0]) } ?? "."
    let number = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard number >= 0 else {
      throw SafetensorsError.system(path, "must be in a directory that can be read and written")
    }
    directory = FileDescriptor(number, path: path)
    earlier = directory.entry(name)
    guard let earlier else {
      // Otherwise a name that is too long would fail at the rename, after everything was written.
      guard errno == ENOENT else { throw SafetensorsError.system(path, "must be writable") }
      return
    }
    guard earlier.isRegular else {
      throw SafetensorsError.contents(path: path, rule: "must be a regular file", got: earlier.kind)
    }
    guard faccessat(number, name, W_OK, AT_EACCESS) == 0 else {
      throw SafetensorsError.system(path, "must be writable")
    }
  }

  private func run(_ body: (FileDescriptor) throws -> Void) throws {
    removeStale()
    let (file, temporary) = try create()
    do {
      try body(file)
      if let earlier, fchmod(file.number, earlier.st_mode & 0o777) != 0 {
        throw SafetensorsError.system(path, "must keep its mode")
      }
      try file.synchronize()
      try file.closeCopy()
      guard renameat(directory.number, temporary, directory.number, name) == 0 else {
        throw SafetensorsError.system(path, "must be replaceable")
      }
    } catch {
      unlinkat(directory.number, temporary, 0)
      throw error
    }
    try synchronizeDirectory()
  }

  /// Waits until the new name is on the device, if the file system supports that.
  private func synchronizeDirectory() throws {
    do {
      try directory.synchronize()
    } catch SafetensorsError.system(_, _, let code) where [EINVAL, ENOTSUP, ENOSYS].contains(code) {}
  }

  /// Creates and locks a temporary file with a name of its own.
  private func create() throws -> (FileDescriptor, name: String) {
    for attempt in 0..<10_000 {
      let temporary = "\(prefix)\(getpid())-\(attempt)\(Self.suffix)"
      let flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
      let number = openat(directory.number, temporary, flags, earlier == nil ? 0o666 : 0o600)
      guard number >= 0 else {
        if errno == EEXIST || errno == EINTR { continue }
        throw SafetensorsError.system(path, "must be in a directory that can be read and written")
      }
      let file = FileDescriptor(number, path: path)
      // Between the two calls another writer may have taken it for a leftover and removed it.
      if flock(number, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK { continue }
      guard let entry = directory.entry(temporary), entry.isSame(as: try file.status()) else { continue }
      return (file, temporary)
    }
    throw SafetensorsError.system(path: path, rule: "must leave a free name for a temporary file", code: EEXIST)
  }

  /// Removes the temporary files of killed writers, if it has permission.
  private func removeStale() {
    for temporary in directory.entries() where isTemporary(temporary) {
      let number = openat(directory.number, temporary, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
      guard number >= 0 else { continue }
      let file = FileDescriptor(number, path: path)
      guard let status = try? file.status(), status.isRegular, flock(number, LOCK_EX | LOCK_NB) == 0,
        let entry = directory.entry(temporary), entry.isSame(as: status)
      else { continue }
      unlinkat(directory.number, temporary, 0)
    }
  }

  private static let suffix = ".tmp"

  /// How the names of this path's temporary files start; cut, because a name has at most 255 bytes.
  private var prefix: String {
    var start = ""
    for scalar in name.unicodeScalars {
      guard start.utf8.count + UTF8.width(scalar) <= 200 else { break }
      start.unicodeScalars.append(scalar)
    }
    return ".\(start).speediff-"
  }

  private func isTemporary(_ candidate: String) -> Bool {
    let (bytes, digits) = (candidate.utf8, UInt8(ascii: "0")...UInt8(ascii: "9"))
    guard bytes.starts(with: prefix.utf8), candidate.hasSuffix(Self.suffix) else { return false }
    let numbers = bytes.dropFirst(prefix.utf8.count).dropLast(Self.suffix.utf8.count).split(
      separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
    return numbers.count == 2 && numbers.allSatisfy { !$0.isEmpty && $0.allSatisfy(digits.contains) }
  }

  /// The target of the symbolic links, whether or not it exists.
  private static func resolved(_ path: String) throws -> String {
    var result = path
    for _ in 0..<40 {
      var status = stat()
      guard lstat(result, &status) == 0, status.st_mode & S_IFMT == S_IFLNK else { return result }
      var target = [UInt8](repeating: 0, count: Int(PATH_MAX))
      let count = target.withUnsafeMutableBytes {
        readlink(result, $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
      }
      guard count >= 0 else { throw SafetensorsError.system(path, "must be a readable link") }
      guard let next = String(validating: target[..<count], as: UTF8.self) else {
        throw SafetensorsError.contents(path: path, rule: "must be a link to a path in valid UTF-8", got: "other bytes")
      }
      let slash = result.utf8.lastIndex(of: UInt8(ascii: "/"))
      result = next.hasPrefix("/") ? next : String(slash.map { result[...$0] } ?? "") + next
    }
    throw SafetensorsError.system(path: path, rule: "must lead to a file", code: ELOOP)
  }
}

extension FileDescriptor {
  /// The status of an entry of this directory; nil, with `errno` set, if there is none.
  fileprivate func entry(_ name: String) -> stat? {
    var result = stat()
    return fstatat(number, name, &result, AT_SYMLINK_NOFOLLOW) == 0 ? result : nil
  }

  /// The names in this directory.
  fileprivate func entries() -> [String] {
    let copy = openat(number, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard copy >= 0, let stream = fdopendir(copy) else {
      if copy >= 0 { close(copy) }
      return []
    }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: $0.pointee)) {
          names.append(String(cString: $0))
        }
      }
    }
    return names
  }
}

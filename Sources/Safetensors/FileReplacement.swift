#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Replaces a file as a whole: a temporary file beside it is written, flushed, and renamed.
///
/// A temporary file is called `.NAME.speediff-PID-N.tmp`, and locked (`flock`) by its writer as long as it lives. So a
/// later writer of the same file knows those whose writer was killed by that they are not locked, in whatever container
/// or on whatever host it ran, and removes them. On file systems without locks they stay.
struct FileReplacement {
  private let path: String
  private let directory: FileDescriptor
  private let name: String
  /// The status of the file before, nil if there was none.
  private let earlier: stat?

  /// Calls `body` with a new file, and gives it this path once it is complete.
  ///
  /// - Throws: `SafetensorsError`, or what `body` throws; the temporary file is removed and the path is as it was. If the
  ///   directory cannot be flushed in the end, the path has the new file already.
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
      // Else a name that is too long would be found by the rename, after all has been written.
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

  /// Waits until the new name is on the device, where the file system can say so.
  private func synchronizeDirectory() throws {
    do {
      try directory.synchronize()
    } catch SafetensorsError.system(_, _, let code) where [EINVAL, ENOTSUP, ENOSYS].contains(code) {}
  }

  /// Makes and locks a temporary file of a name that no other has.
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
      // Between these two calls another writer may have taken it for a stale one, and removes it.
      if flock(number, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK { continue }
      guard let entry = directory.entry(temporary), entry.isSame(as: try file.status()) else { continue }
      return (file, temporary)
    }
    throw SafetensorsError.system(path: path, rule: "must have a name left for a temporary file", code: EEXIST)
  }

  /// Removes the temporary files of writers that were killed, as far as it may.
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

  /// What temporary files of this path start with; cut, because a name has 255 bytes at most.
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

  /// Where symbolic links lead to, whether or not there is a file.
  private static func resolved(_ path: String) throws -> String {
    var result = path
    for _ in 0..<40 {
      var status = stat()
      guard lstat(result, &status) == 0, status.st_mode & S_IFMT == S_IFLNK else { return result }
      var target = [UInt8](repeating: 0, count: Int(PATH_MAX))
      let count = target.withUnsafeMutableBytes {
        readlink(result, $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
      }
      guard count >= 0 else { throw SafetensorsError.system(path, "must be a link that can be read") }
      guard let next = String(validating: target[..<count], as: UTF8.self) else {
        throw SafetensorsError.contents(path: path, rule: "must be a link to a path of valid UTF-8", got: "another")
      }
      let slash = result.utf8.lastIndex(of: UInt8(ascii: "/"))
      result = next.hasPrefix("/") ? next : String(slash.map { result[...$0] } ?? "") + next
    }
    throw SafetensorsError.system(path: path, rule: "must lead to a file", code: ELOOP)
  }
}

extension FileDescriptor {
  /// The status of an entry of this directory, nil if there is none.
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

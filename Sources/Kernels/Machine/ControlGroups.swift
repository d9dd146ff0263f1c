#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The limits that Linux's control groups set for this process.
///
/// A process belongs to one group of each hierarchy: the one of version 2, and those of version 1, which have
/// controllers of their own. A limit also holds for all groups inside, so the smallest one on the way up counts.
/// `/proc/self/cgroup` names the groups; `/proc/self/mountinfo` says where their files are. Where nothing can be read
/// there are no limits.
package struct ControlGroups {
  /// A limit, and the file that sets it.
  package struct Limit: Equatable {
    /// The number: bytes, processors or tasks.
    package let value: Int
    /// Where it stands.
    package let file: String
  }

  private let root: String
  private let memberships: [Membership]
  private let mounts: [Mount]

  /// Reads which groups this process is in.
  ///
  /// - Parameter root: a folder that stands for `/`, in tests.
  package init(root: String = "") {
    self.root = root
    memberships = lines(of: root + "/proc/self/cgroup").compactMap(Membership.init)
    mounts = lines(of: root + "/proc/self/mountinfo").compactMap(Mount.init)
  }

  /// The memory in bytes.
  package var memory: Limit? {
    smallest("memory") { number($0 + "/memory.max") ?? number($0 + "/memory.limit_in_bytes") }
  }

  /// The processes and threads.
  package var tasks: Limit? { smallest("pids") { number($0 + "/pids.max") } }

  /// The processor time, in whole processors: with more threads than that, all of them would stand still for a part of
  /// each period. At least 1.
  package var processors: Limit? {
    smallest("cpu") { folder in
      // Version 2 has both numbers in one file. Version 1 says -1 where there is no limit.
      let file = folder + "/cpu.max"
      let both = (lines(of: root + file).first ?? "").split(separator: " ").map { Int($0) }
      if both.count == 2 { return quota(both[0], both[1], file) }
      let limit = number(folder + "/cpu.cfs_quota_us")
      return quota(limit?.value, number(folder + "/cpu.cfs_period_us")?.value, limit?.file)
    }
  }

  private func quota(_ time: Int?, _ period: Int?, _ file: String?) -> Limit? {
    guard let time, let period, let file, time > 0, period > 0 else { return nil }
    return Limit(value: max(1, time / period), file: file)
  }

  /// The smallest limit among the process's groups of a controller, and those around them.
  private func smallest(_ controller: Substring, _ limit: (_ folder: String) -> Limit?) -> Limit? {
    memberships.filter { $0.isUnified || $0.controllers.contains(controller) }
      .flatMap { folders(of: $0, controller) }.compactMap(limit).min { $0.value < $1.value }
  }

  /// The folders of a group and those around it, up to where the hierarchy is mounted.
  private func folders(of membership: Membership, _ controller: Substring) -> [String] {
    let fitting = mounts.filter {
      membership.isUnified ? $0.type == "cgroup2" : $0.type == "cgroup" && $0.options.contains(controller)
    }
    // A container may see another part of the hierarchy than the one that its group is named in: then what is mounted
    // is its own group.
    guard let mount = fitting.first(where: { $0.path(to: membership.group) != nil }) ?? fitting.first else { return [] }
    var folders = [mount.point]
    for name in (mount.path(to: membership.group) ?? "").split(separator: "/") {
      folders.append(folders[folders.count - 1] + "/" + name)
    }
    return folders.reversed()
  }

  /// The number in a file; nil where there is none, as in "max".
  private func number(_ file: String) -> Limit? {
    guard let value = lines(of: root + file).first.flatMap({ Int($0) }), value > 0 else { return nil }
    return Limit(value: value, file: file)
  }
}

/// A line of `/proc/self/cgroup`: `hierarchy:controllers:group`.
private struct Membership {
  let controllers: [Substring]
  let group: Substring
  /// Whether it is the hierarchy of version 2.
  let isUnified: Bool

  init?(_ line: Substring) {
    let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
    guard fields.count == 3 else { return nil }
    isUnified = fields[0] == "0" && fields[1].isEmpty
    controllers = fields[1].split(separator: ",")
    group = fields[2]
  }
}

/// A line of `/proc/self/mountinfo`: `36 35 98:0 /root /point rw,noatime shared:1 - type source options`.
private struct Mount {
  /// The part of the file system that is mounted.
  let root: String
  let point: String
  let type: Substring
  let options: [Substring]

  init?(_ line: Substring) {
    let words = line.split(separator: " ")
    guard let dash = words.firstIndex(of: "-"), dash >= 6, words.count > dash + 3 else { return nil }
    (root, point) = (unescaped(words[3]), unescaped(words[4]))
    (type, options) = (words[dash + 1], words[dash + 3].split(separator: ","))
  }

  /// The path from the mount to a group inside; nil if it lies elsewhere.
  func path(to group: Substring) -> Substring? {
    guard !group.split(separator: "/").contains("..") else { return nil }
    if root == "/" { return group }
    guard group.hasPrefix(root) else { return nil }
    let rest = group.dropFirst(root.count)
    return rest.isEmpty || rest.hasPrefix("/") ? rest : nil
  }
}

/// A path of mountinfo, in which a blank is `\040`.
private func unescaped(_ word: Substring) -> String {
  var (bytes, rest) = ([UInt8](), word.utf8[...])
  while let byte = rest.popFirst() {
    let digits = rest.prefix(3)
    if byte == UInt8(ascii: "\\"), digits.count == 3, let code = UInt8(String(Substring(digits)), radix: 8) {
      bytes.append(code)
      rest = rest.dropFirst(3)
    } else {
      bytes.append(byte)
    }
  }
  return String(decoding: bytes, as: UTF8.self)
}

/// The lines of a text file; none if it cannot be read.
private func lines(of path: String) -> [Substring] {
  guard let file = fopen(path, "re") else { return [] }
  defer { fclose(file) }
  var (bytes, chunk) = ([UInt8](), [UInt8](repeating: 0, count: 4096))
  while case let count = fread(&chunk, 1, chunk.count, file), count > 0 { bytes += chunk[..<count] }
  return String(decoding: bytes, as: UTF8.self).split(separator: "\n")
}

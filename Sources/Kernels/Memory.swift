#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Memory that was asked for cannot be had.
public struct MemoryError: Error, CustomStringConvertible {
  /// How much was asked for, and for what.
  public let bytes: Int
  let purpose: String

  /// Describes a need.
  package init(bytes: Int, purpose: String) {
    self.bytes = bytes
    self.purpose = purpose
  }

  /// What is wanted, how much of it, and what the machine has.
  public var description: String {
    let (needed, present) = (inGigabytes(bytes), inGigabytes(availableMemory()))
    return "\(purpose) must fit into memory, got a need of \(needed) GB on a machine of \(present) GB"
  }
}

/// Floats in memory of their own, aligned to pages and zero at first.
public final class FloatMemory: @unchecked Sendable {
  /// The first float.
  public let base: UnsafeMutablePointer<Float>
  /// How many there are.
  public let count: Int
  private let bytes: Int

  /// Asks the system for memory, of which a page takes room when it is first written to.
  ///
  /// - Parameter purpose: what an error calls it.
  /// - Throws: `MemoryError` if the machine does not have it.
  public init(count: Int, for purpose: String) throws {
    try Self.check(count: count, for: purpose)
    let bytes = max(count, 1) * MemoryLayout<Float>.stride
    let memory = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let memory, memory != MAP_FAILED else { throw MemoryError(bytes: bytes, purpose: purpose) }
    #if os(Linux)
      // Fewer, larger pages; without them nothing but speed is lost.
      madvise(memory, bytes, MADV_HUGEPAGE)
    #endif
    base = memory.bindMemory(to: Float.self, capacity: max(count, 1))
    self.count = count
    self.bytes = bytes
  }

  deinit { munmap(base, bytes) }

  /// Throws `MemoryError` if the machine does not have memory for so many floats. What is promised in excess of it would
  /// end the process later, when it is written to.
  public static func check(count: Int, for purpose: String) throws {
    let (bytes, overflow) = max(count, 1).multipliedReportingOverflow(by: MemoryLayout<Float>.stride)
    guard !overflow, bytes <= availableMemory() else {
      throw MemoryError(bytes: overflow ? .max : bytes, purpose: purpose)
    }
  }
}

/// The machine's memory, or the part of it that a container may use.
private func availableMemory() -> Int {
  let physical = sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
  // Of Linux's control groups, version 2 and 1. Without a limit the file says "max", or a number beyond the machine.
  for path in ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"] {
    guard let file = fopen(path, "r") else { continue }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 32)
    guard fgets(&line, Int32(line.count), file) != nil else { continue }
    let limit = Int(strtoll(line, nil, 10))
    if limit > 0 { return min(limit, physical) }
  }
  return physical
}

private func inGigabytes(_ bytes: Int) -> String {
  let tenths = bytes / 100_000_000
  return "\(tenths / 10).\(tenths % 10)"
}

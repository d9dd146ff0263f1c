#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The memory that this process may use.
package struct MemoryLimit {
  package let bytes: Int
  /// What sets the limit.
  private let place: String

  /// The machine's memory, or what the process's control groups allow of it.
  package static var current: MemoryLimit {
    let physical = sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
    // Version 1 gives a number beyond any machine where there is no limit.
    if let limit = ControlGroups().memory, limit.value < physical {
      return MemoryLimit(bytes: limit.value, place: "where \(limit.file) allows")
    }
    return MemoryLimit(bytes: physical, place: "on a machine of")
  }

  /// How a need compares with the limit.
  func description(of need: Int) -> String {
    guard need > bytes else {
      return "a need of \(readable(need)) that the system refused; use less, or raise a limit such as ulimit -v"
    }
    return "a need of \(readable(need)) \(place) \(readable(bytes))"
  }
}

/// A number of bytes, as people say it.
private func readable(_ bytes: Int) -> String {
  if bytes < 1_000_000_000 { return "\((bytes + 999_999) / 1_000_000) MB" }
  let tenths = bytes / 100_000_000
  return "\(tenths / 10).\(tenths % 10) GB"
}

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

  /// What is wanted, how much of it, and what there is.
  public var description: String {
    "\(purpose) must fit into memory, got \(MemoryLimit.current.description(of: bytes))"
  }
}

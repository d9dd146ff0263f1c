#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

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
  /// - Throws: `MemoryError` if this process cannot have it.
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

  /// Throws `MemoryError` if this process may not have memory for so many floats. What is promised in excess of it would
  /// end the process later, when it is written to.
  public static func check(count: Int, for purpose: String) throws {
    let (bytes, overflow) = max(count, 1).multipliedReportingOverflow(by: MemoryLayout<Float>.stride)
    guard !overflow, bytes <= MemoryLimit.current.bytes else {
      throw MemoryError(bytes: overflow ? .max : bytes, purpose: purpose)
    }
  }
}

import Kernels

/// Divides one block of memory among buffers with limited lifetimes.
struct MemoryPlan {
  /// A buffer. Time counts the scopes of a network, forward and then backward.
  struct Buffer {
    let size: Int
    var lifetime: ClosedRange<Int>
    fileprivate(set) var offset = 0

    init(size: Int, lifetime: ClosedRange<Int>) {
      self.size = size
      self.lifetime = lifetime
    }
  }

  private(set) var buffers: [Buffer] = []
  /// The floats of the block.
  private(set) var count = 0

  /// Adds a buffer, and returns its number.
  mutating func add(size: Int, lifetime: ClosedRange<Int>) -> Int {
    buffers.append(Buffer(size: size, lifetime: lifetime))
    return buffers.count - 1
  }

  /// Gives each buffer, the largest first, the lowest place that no other one has at the same time.
  ///
  /// - Throws: `MemoryError` if the total size is beyond any machine.
  mutating func layOut() throws {
    let largestFirst = buffers.indices.sorted { (buffers[$0].size, $1) > (buffers[$1].size, $0) }
    var placed: [Int] = []
    for index in largestFirst {
      let size = (buffers[index].size + 15) / 16 * 16
      var offset = 0
      for other in placed where buffers[other].lifetime.overlaps(buffers[index].lifetime) {
        let (start, end) = (buffers[other].offset, buffers[other].offset + (buffers[other].size + 15) / 16 * 16)
        if offset + size <= start { break }
        offset = max(offset, end)
      }
      buffers[index].offset = offset
      let (end, overflow) = offset.addingReportingOverflow(size)
      guard !overflow, end < Int.max / 8 else { throw MemoryError(bytes: .max, purpose: "activations") }
      count = max(count, end)
      // Sorted by offset, so that the first gap found is the lowest.
      placed.insert(index, at: placed.firstIndex { buffers[$0].offset > offset } ?? placed.count)
    }
  }
}

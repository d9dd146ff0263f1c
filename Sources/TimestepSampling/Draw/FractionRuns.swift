extension FractionSource {
  /// Calls `body` with one run of a batch's entries after the other, up to 64 each: the first one, counted from the lowest
  /// entry, and their uniform numbers. For maps without a table of steps, which need all 64 bits.
  @inline(__always)
  func forEachRun(
    in entries: Range<Int>, _ body: (_ first: Int, _ fractions: UnsafeBufferPointer<UInt64>) -> Void
  ) {
    withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 2 * RandomStream.chunk) { buffer in
      // The allocation is not empty, so it has a base address.
      let places = buffer.baseAddress!
      let ordered = places + RandomStream.chunk
      for start in stride(from: entries.lowerBound & ~3, to: entries.upperBound, by: RandomStream.chunk) {
        storeFractions(block: UInt32(truncatingIfNeeded: start &>> 2), into: places)
        for block in 0..<Philox4x32.lanes {
          for word in 0..<4 { ordered[4 &* block &+ word] = places[Philox4x32.place(block, word)] }
        }
        let run = max(start, entries.lowerBound)..<min(start &+ RandomStream.chunk, entries.upperBound)
        body(
          run.lowerBound &- entries.lowerBound,
          UnsafeBufferPointer(start: ordered + (run.lowerBound &- start), count: run.count))
      }
    }
  }
}

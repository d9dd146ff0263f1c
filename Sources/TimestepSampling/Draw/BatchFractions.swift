/// The uniform numbers of a slice of a global batch, with all 64 bits: for maps without a table of steps.
struct BatchFractions {
  let options: SamplerOptions
  let slice: BatchSlice

  /// Calls `body` with one run of entries after the other, up to 64 each: the first one, counted from the slice's first, and
  /// the fractions.
  @inline(__always)
  func forEachRun(_ body: (_ first: Int, _ fractions: UnsafeBufferPointer<UInt64>) -> Void) {
    guard slice.count > 0 else { return }
    // 1 KiB is what Swift takes from the stack.
    withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 2 * RandomStream.chunk) { buffer in
      // The allocation is not empty, so it has a base address.
      let first = buffer.baseAddress!
      switch options.strata {
      case .none:
        forEachRun(IndependentFractions(seed: options.seed, step: slice.step, buffer: first), body)
      case .stratified:
        forEachRun(
          StratifiedFractions(seed: options.seed, step: slice.step, total: slice.total, buffer: first), body)
      case .lowDiscrepancy:
        forEachRun(
          LowDiscrepancyFractions(seed: options.seed, step: slice.step, total: slice.total, buffer: first), body)
      }
    }
  }

  @inline(__always)
  private func forEachRun(
    _ source: some FractionSource, _ body: (Int, UnsafeBufferPointer<UInt64>) -> Void
  ) {
    let entries = slice.offset..<slice.offset + slice.count
    withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 2 * RandomStream.chunk) { buffer in
      let places = buffer.baseAddress!
      let ordered = places + RandomStream.chunk
      for start in stride(from: entries.lowerBound & ~3, to: entries.upperBound, by: RandomStream.chunk) {
        source.storeFractions(block: UInt32(truncatingIfNeeded: start &>> 2), into: places)
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

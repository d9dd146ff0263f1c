/// The uniform numbers of a slice of a global batch, one by one, with all 64 bits: for maps without a table.
struct BatchFractions {
  let options: SamplerOptions
  let slice: BatchSlice

  /// Calls `body` with each entry, counted from the slice's first one, and its fraction.
  @inline(__always)
  func forEach(_ body: (_ entry: Int, _ fraction: UInt64) -> Void) {
    let entries = slice.offset..<slice.offset + slice.count
    guard !entries.isEmpty else { return }
    // 1 KiB is what Swift takes from the stack.
    withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 2 * RandomStream.chunk) { buffer in
      // The allocation is not empty, so it has a base address.
      let first = buffer.baseAddress!
      switch options.strata {
      case .none:
        let draw = RandomStream(seed: options.seed, purpose: .draw, step: slice.step)
        let refinement = RandomStream(seed: options.seed, purpose: .drawRefinement, step: slice.step)
        let second = first + RandomStream.chunk
        let lower: UInt64 = 0xFFFF_FFFF
        var start = entries.lowerBound & ~3
        while start < entries.upperBound {
          draw.store(fromBlock: UInt32(truncatingIfNeeded: start &>> 2), into: first)
          refinement.store(fromBlock: UInt32(truncatingIfNeeded: start &>> 2), into: second)
          for place in 0..<RandomStream.chunk {
            let index = start + Philox4x32.index(at: place)
            guard entries.contains(index) else { continue }
            body(index - entries.lowerBound, first[place] &<< 32 | second[place] & lower)
          }
          start += RandomStream.chunk
        }
      case .stratified:
        let source = StratifiedFractions(
          seed: options.seed, step: slice.step, total: slice.total, buffer: first)
        for index in entries { body(index - entries.lowerBound, source.fraction(of: index)) }
      case .lowDiscrepancy:
        let source = LowDiscrepancyFractions(
          seed: options.seed, step: slice.step, total: slice.total, buffer: first)
        for index in entries { body(index - entries.lowerBound, source.fraction(of: index)) }
      }
    }
  }
}

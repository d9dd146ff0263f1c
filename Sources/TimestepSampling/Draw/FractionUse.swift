/// What is done with the uniform numbers of a global batch, however they are spread over [0, 1).
protocol FractionUse {
  /// - Parameter scratch: room for one chunk, which the source does not use.
  func callAsFunction(_ source: some FractionSource, scratch: UnsafeMutablePointer<UInt64>)
}

extension SamplerOptions {
  /// Makes the uniform numbers of the slice's global batch, and gives them to `use`; an empty slice has none.
  @inline(__always)
  func withFractions(of slice: BatchSlice, _ use: some FractionUse) {
    guard slice.count > 0 else { return }
    // One allocation for both: if the scratch is one that only its user knows, the compiler replaces the reads of a table
    // by slower gathers. 1 KiB is what Swift takes from the stack.
    withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 2 * RandomStream.chunk) { buffer in
      // The allocation is not empty, so it has a base address.
      let room = buffer.baseAddress!
      let scratch = room + RandomStream.chunk
      switch strata {
      case .none: use(IndependentFractions(seed: seed, step: slice.step, buffer: room), scratch: scratch)
      case .stratified:
        withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 2 * RandomStream.chunk) { bounds in
          let source = StratifiedFractions(
            seed: seed, step: slice.step, total: slice.total, buffer: bounds.baseAddress!)
          use(source, scratch: scratch)
        }
      case .lowDiscrepancy:
        let source = LowDiscrepancyFractions(seed: seed, step: slice.step, total: slice.total, buffer: room)
        use(source, scratch: scratch)
      }
    }
  }
}

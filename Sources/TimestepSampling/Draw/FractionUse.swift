/// What is done with the uniform numbers of a global batch, however they are spread over [0, 1).
protocol FractionUse {
  func callAsFunction(_ source: some FractionSource)
}

extension SamplerOptions {
  /// Makes the uniform numbers of the slice's global batch, and gives them to `use`; an empty slice has none.
  @inline(__always)
  func withFractions(of slice: BatchSlice, _ use: some FractionUse) {
    guard slice.count > 0 else { return }
    // 1 KiB is what Swift takes from the stack.
    withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 2 * RandomStream.chunk) { buffer in
      // The allocation is not empty, so it has a base address.
      let room = buffer.baseAddress!
      switch strata {
      case .none: use(IndependentFractions(seed: seed, step: slice.step, buffer: room))
      case .stratified: use(StratifiedFractions(seed: seed, step: slice.step, total: slice.total, buffer: room))
      case .lowDiscrepancy: use(LowDiscrepancyFractions(seed: seed, step: slice.step, total: slice.total, buffer: room))
      }
    }
  }
}

/// Where a draw goes: timesteps, and their weights.
struct DrawOutput {
  let timesteps: UnsafeMutablePointer<Int64>
  let weights: UnsafeMutablePointer<Float>
  /// The weight of each of the T steps.
  let table: UnsafePointer<Float>
  /// The factor of all weights.
  let scale: Float
  /// The dual map, where duals are stored for the steps drawn.
  let duals: DualPairing?

  /// The part from an entry on.
  func from(_ entry: Int, duals: DualPairing) -> DrawOutput {
    DrawOutput(
      timesteps: timesteps + entry, weights: weights + entry, table: table, scale: scale, duals: duals)
  }

  /// Stores a step that was drawn, 0 ≤ step < T.
  @inline(__always)
  func store(_ drawn: UInt64, at entry: Int) {
    var step = Int(truncatingIfNeeded: drawn)
    if let duals { step = duals.dual(step) }
    timesteps[entry] = Int64(truncatingIfNeeded: step)
    weights[entry] = table[step] * scale
  }
}

/// Draws entries of a batch from P, and stores them one after the other.
struct StepDraw: FractionUse {
  let inverseCDF: InverseCDF
  /// Which entries of the batch.
  let entries: Range<Int>
  /// Room for all entries.
  let output: DrawOutput

  @inline(__always)
  func callAsFunction(_ source: some FractionSource, scratch steps: UnsafeMutablePointer<UInt64>) {
    inverseCDF.withLookup { lookup in
      // Whole blocks of the generator; what the first and the last one hold beyond the entries is dropped.
      let blocks = (entries.lowerBound &>> 2)..<((entries.upperBound &+ 3) &>> 2)
      for chunk in stride(from: blocks.lowerBound, to: blocks.upperBound, by: Philox4x32.lanes) {
        source.prepare(block: UInt32(truncatingIfNeeded: chunk))
        lookup.storeSteps(least: source.least, most: source.most, into: steps) { place in
          let index = 4 &* chunk &+ Philox4x32.index(at: place)
          // Entries past the end have no fraction of their own.
          return index < entries.upperBound ? source.fraction(of: index) : 0
        }
        for block in 0..<min(Philox4x32.lanes, blocks.upperBound &- chunk) {
          let first = 4 &* (chunk &+ block)
          let entry = first &- entries.lowerBound
          if _fastPath(entry >= 0 && first &+ 4 <= entries.upperBound) {
            output.store(steps[Philox4x32.place(block, 0)], at: entry)
            output.store(steps[Philox4x32.place(block, 1)], at: entry &+ 1)
            output.store(steps[Philox4x32.place(block, 2)], at: entry &+ 2)
            output.store(steps[Philox4x32.place(block, 3)], at: entry &+ 3)
          } else {
            for word in 0..<4 where entries.contains(first &+ word) {
              output.store(steps[Philox4x32.place(block, word)], at: entry &+ word)
            }
          }
        }
      }
    }
  }
}

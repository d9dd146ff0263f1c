/// How the noise levels of a batch follow from its uniform numbers.
protocol SigmaSource {
  /// What is drawn, and with which weight.
  var tables: LevelCourse.Tables { get }

  /// Stores σ of a run of entries.
  ///
  /// - Parameters:
  ///   - fractions: their uniform numbers.
  ///   - first: the first one, counted from the slice's first.
  ///   - sigma: room for as many as there are fractions.
  ///   - scratch: room for as many.
  func store(
    _ fractions: UnsafeBufferPointer<UInt64>, from first: Int, into sigma: UnsafeMutableBufferPointer<Double>,
    scratch: UnsafeMutablePointer<UInt64>)
}

/// σ of the density that is drawn.
struct SigmaQuantiles: SigmaSource {
  let tables: LevelCourse.Tables
  let step: UInt64

  @inline(__always)
  func store(
    _ fractions: UnsafeBufferPointer<UInt64>, from first: Int, into sigma: UnsafeMutableBufferPointer<Double>,
    scratch: UnsafeMutablePointer<UInt64>
  ) {
    guard let table = tables.table else {
      for i in 0..<fractions.count { sigma[i] = exact(fractions[i]) }
      return
    }
    table.sigma.withLookup { lookup in
      for i in 0..<fractions.count {
        // 2⁶⁴·p from the nearer end.
        let isUpper = fractions[i] &>> 63
        let nearer = fractions[i] ^ (0 &- isUpper)
        let (row, offset) = lookup.place(of: Double(Int64(truncatingIfNeeded: nearer)))
        (scratch[i], sigma[i]) = (row &+ isUpper, offset)
      }
      for i in 0..<fractions.count { sigma[i] = lookup.value(row: scratch[i], offset: sigma[i]) }
    }
    sigma.replaceNaN { exact(fractions[$0]) }
  }

  /// σ of an entry for which the table has no value.
  @inline(never)
  func exact(_ fraction: UInt64) -> Double {
    NoiseLevel(tables.levels.logSigma(Probability(fraction: fraction), at: step)).sigma
  }
}

extension UnsafeMutableBufferPointer<Double> {
  /// Replaces what a table left out.
  @inline(__always)
  func replaceNaN(_ value: (_ index: Int) -> Double) {
    guard let values = baseAddress else { return }
    // Nearly always there is none: one count without branches.
    var missing = 0
    for i in 0..<count { missing &+= values[i] == values[i] ? 0 : 1 }
    guard _slowPath(missing > 0) else { return }
    for i in 0..<count where values[i].isNaN { values[i] = value(i) }
  }
}

extension SigmaSampler {
  /// Draws entries of a step, whose σ `source` finds.
  @inline(__always)
  func fill(
    _ slice: BatchSlice, from source: some SigmaSource, levels: UnsafeMutablePointer<Float>,
    weights: UnsafeMutablePointer<Float>
  ) {
    options.withFractions(
      of: slice, LevelDraw(sampler: self, slice: slice, source: source, levels: levels, weights: weights))
  }
}

/// Draws a slice's noise levels, and stores them with their weights.
private struct LevelDraw<Source: SigmaSource>: FractionUse {
  let sampler: SigmaSampler
  let slice: BatchSlice
  let source: Source
  let levels: UnsafeMutablePointer<Float>
  let weights: UnsafeMutablePointer<Float>

  @inline(__always)
  func callAsFunction(_ fractions: some FractionSource, scratch: UnsafeMutablePointer<UInt64>) {
    withUnsafeTemporaryAllocation(of: Double.self, capacity: 2 * RandomStream.chunk) { buffer in
      // The allocation is not empty, so it has a base address.
      let offsets = buffer.baseAddress! + RandomStream.chunk
      fractions.forEachRun(in: slice.offset..<slice.offset + slice.count) { first, run in
        let sigma = UnsafeMutableBufferPointer(rebasing: buffer[..<run.count])
        source.store(run, from: first, into: sigma, scratch: scratch)
        storeLevels(of: sigma, into: levels + first)
        storeWeights(of: sigma, into: weights + first, rows: scratch, offsets: offsets)
      }
    }
  }

  /// Stores what a training loop takes: t for rectified flow, in (0, 1), and σ for the others, above 0 and finite.
  @inline(__always)
  private func storeLevels(
    of sigma: UnsafeMutableBufferPointer<Double>, into levels: UnsafeMutablePointer<Float>
  ) {
    let isFlow = sampler.process.kind == .flow
    let largest = isFlow ? Float(1).nextDown : .greatestFiniteMagnitude
    // Extreme levels are rounded to the nearest valid Float, so that a division by 1-t or by σ is safe.
    if isFlow {
      for i in 0..<sigma.count {
        levels[i] = min(largest, max(.leastNormalMagnitude, Float(sigma[i] / (1 + sigma[i]))))
      }
    } else {
      for i in 0..<sigma.count { levels[i] = min(largest, max(.leastNormalMagnitude, Float(sigma[i]))) }
    }
  }

  @inline(__always)
  private func storeWeights(
    of sigma: UnsafeMutableBufferPointer<Double>, into weights: UnsafeMutablePointer<Float>,
    rows: UnsafeMutablePointer<UInt64>, offsets: UnsafeMutablePointer<Double>
  ) {
    let (bound, scale) = (sampler.weightWarmUp?.bound(at: slice.step) ?? .infinity, sampler.scale)
    // A weight too large for a Float becomes the largest finite one.
    let largest = Double(Float.greatestFiniteMagnitude)
    func finish(_ weight: Double) -> Float { Float(min(min(weight, bound) * scale, largest)) }
    let tables = source.tables
    func exact(_ sigma: Double) -> Double { tables.weight(Double.log(sigma), slice.step) }
    guard let table = tables.table?.weight else {
      for i in 0..<sigma.count { weights[i] = finish(exact(sigma[i])) }
      return
    }
    table.withLookup { lookup in
      for i in 0..<sigma.count { (rows[i], offsets[i]) = lookup.place(of: sigma[i]) }
      for i in 0..<sigma.count {
        let value = lookup.value(row: rows[i], offset: offsets[i])
        weights[i] = finish(_fastPath(value == value) ? value : exact(sigma[i]))
      }
    }
  }
}

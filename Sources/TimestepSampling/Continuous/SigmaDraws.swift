import NoiseSchedules

/// How each entry of a batch is moved towards more noise: λ' = λ - 2·ln(shift) - 2·offset.
public struct EntryShifts {
  /// Each entry's shift, finite and above 0; nil: 1.
  public let shifts: UnsafePointer<Double>?
  /// Each entry's offset of ln σ; nil: 0.
  public let offsets: UnsafePointer<Double>?

  /// Reads from arrays that outlive the draw.
  public init(shifts: UnsafePointer<Double>?, offsets: UnsafePointer<Double>?) {
    self.shifts = shifts
    self.offsets = offsets
  }

  var isNone: Bool { shifts == nil && offsets == nil }

  /// Throws unless the entries' values are valid.
  func check(_ count: Int) throws {
    // e^±87: the range of σ as a Float.
    let range = 1.645_811_431_082_272_5e-38...6.076_030_225_056_872e37
    if let i = shifts.flatMap({ Self.firstOutside(range, of: $0, count) }), let shifts {
      throw ArgumentError("shift[\(i)]", "must be above 0, and within e⁻⁸⁷ to e⁸⁷", got: shifts[i])
    }
    if let i = offsets.flatMap({ Self.firstOutside(-87...87, of: $0, count) }), let offsets {
      throw ArgumentError("offset[\(i)]", "must be in [-87, 87]", got: offsets[i])
    }
  }

  /// The first value that is outside of a range, or NaN.
  private static func firstOutside(
    _ range: ClosedRange<Double>, of values: UnsafePointer<Double>, _ count: Int
  ) -> Int? {
    let (low, high) = (range.lowerBound, range.upperBound)
    // Nearly always there is none: one count without branches.
    var inside = 0
    for i in 0..<count { inside &+= (values[i] >= low ? 1 : 0) & (values[i] <= high ? 1 : 0) }
    return inside == count ? nil : (0..<count).first { !range.contains(values[$0]) }
  }

  /// The name of what moves an entry, for errors.
  func name(_ entry: Int) -> String { offsets == nil ? "shift[\(entry)]" : "offset[\(entry)]" }

  /// How far an entry's ln σ is moved.
  func distance(_ entry: Int) -> Double { (shifts.map { Double.log($0[entry]) } ?? 0) + (offsets?[entry] ?? 0) }

  /// Multiplies the σ of entries from `first` on, and keeps them in range.
  @inline(__always)
  func apply(to sigma: UnsafeMutableBufferPointer<Double>, from first: Int) {
    if let shifts {
      for i in 0..<sigma.count { sigma[i] *= shifts[first &+ i] }
    }
    if let offsets {
      for i in 0..<sigma.count { sigma[i] *= Double.exp(offsets[first &+ i]) }
    }
    let (smallest, largest) = (NoiseLevel.smallest, NoiseLevel.largest)
    for i in 0..<sigma.count {
      let atLeast = sigma[i] < smallest ? smallest : sigma[i]
      sigma[i] = atLeast > largest ? largest : atLeast
    }
  }
}

extension SigmaSampler {
  /// Draws entries of a step, and moves each.
  ///
  /// The uniform numbers do not depend on the shifts, and strata hold before them. For EDM and rectified flow, σ is multiplied by
  /// shift·e^offset. For VP and VE, which have a largest noise level, the density is moved, cut and renormalized. The
  /// weights are those of the moved levels.
  ///
  /// - Parameters:
  ///   - slice: which entries; the sampler's own layout is not used.
  ///   - moves: a value for each of them.
  ///   - levels: room for `slice.count` values.
  ///   - weights: room for `slice.count` weights.
  /// - Throws: `ArgumentError` if a value is out of range, or the weights depend on what is drawn; then nothing is written.
  public func draw(
    _ slice: BatchSlice, moves: EntryShifts, levels: UnsafeMutablePointer<Float>, weights: UnsafeMutablePointer<Float>
  ) throws {
    guard !moves.isNone else { return draw(slice, levels: levels, weights: weights) }
    let argument = moves.shifts == nil ? "offset" : "shift"
    guard !options.normalize else {
      throw ArgumentError(argument, "must not be given with normalize, whose mean weight it changes", got: "both")
    }
    guard !weightFollowsDraws else {
      throw ArgumentError(
        argument, "must not be given with a weighting that depends on the density drawn, such as to_emphasis",
        got: "both")
    }
    try moves.check(slice.count)
    guard process.logSigmaRange.high < .infinity else {
      return fill(slice, levels: levels, weights: weights) { run, fractions, sigma in
        quantiles(fractions, at: slice.step, into: sigma)
        moves.apply(to: sigma, from: run)
      }
    }
    var moved = MovedQuantiles(levels: self.levels, step: slice.step, process: process)
    // An error must come before anything is written.
    for entry in 0..<slice.count { try moved.add(moves.distance(entry), moves.name(entry)) }
    fill(slice, levels: levels, weights: weights) { run, fractions, sigma in
      for i in 0..<fractions.count { sigma[i] = moved.sigma(fractions[i], movedBy: moves.distance(run + i)) }
    }
  }

  /// Draws entries of a step, whose σ `body` finds.
  @inline(__always)
  func fill(
    _ slice: BatchSlice, levels: UnsafeMutablePointer<Float>, weights: UnsafeMutablePointer<Float>,
    _ body: (
      _ first: Int, _ fractions: UnsafeBufferPointer<UInt64>, _ sigma: UnsafeMutableBufferPointer<Double>
    ) -> Void
  ) {
    withUnsafeTemporaryAllocation(of: Double.self, capacity: RandomStream.chunk) { buffer in
      BatchFractions(options: options, slice: slice).forEachRun { first, fractions in
        let sigma = UnsafeMutableBufferPointer(rebasing: buffer[..<fractions.count])
        body(first, fractions, sigma)
        store(sigma, into: levels + first)
        storeWeights(of: sigma, at: slice.step, into: weights + first)
      }
    }
  }

  /// σ of the sampler's own density at some fractions.
  @inline(__always)
  func quantiles(
    _ fractions: UnsafeBufferPointer<UInt64>, at step: UInt64, into sigma: UnsafeMutableBufferPointer<Double>
  ) {
    guard let table else {
      for i in 0..<fractions.count { sigma[i] = exactSigma(fractions[i], at: step) }
      return
    }
    table.sigma.withLookup { lookup in
      for i in 0..<fractions.count {
        // 2⁶⁴·p from the nearer end.
        let isUpper = fractions[i] &>> 63
        let nearer = fractions[i] ^ (0 &- isUpper)
        let p = Double(Int64(truncatingIfNeeded: nearer))
        sigma[i] = lookup.value(at: p, of: Int(truncatingIfNeeded: isUpper))
      }
    }
    for i in 0..<fractions.count where _slowPath(sigma[i].isNaN) { sigma[i] = exactSigma(fractions[i], at: step) }
  }

  @inline(never)
  private func exactSigma(_ fraction: UInt64, at step: UInt64) -> Double {
    NoiseLevel(levels.logSigma(Probability(fraction: fraction), at: step)).sigma
  }

  /// Stores what a training loop takes: t for rectified flow, in (0, 1), and σ for the others, above 0 and finite.
  @inline(__always)
  private func store(_ sigma: UnsafeMutableBufferPointer<Double>, into levels: UnsafeMutablePointer<Float>) {
    let isFlow = process.kind == .flow
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
    of sigma: UnsafeMutableBufferPointer<Double>, at step: UInt64, into weights: UnsafeMutablePointer<Float>
  ) {
    let bound = weightWarmUp?.bound(at: step) ?? .infinity
    // A weight too large for a Float becomes the largest finite one.
    let largest = Double(Float.greatestFiniteMagnitude)
    func finish(_ weight: Double) -> Float { Float(min(min(weight, bound) * scale, largest)) }
    guard let table = table?.weight else {
      for i in 0..<sigma.count { weights[i] = finish(weight(atLogSigma: Double.log(sigma[i]), at: step)) }
      return
    }
    table.withLookup { lookup in
      for i in 0..<sigma.count {
        let value = lookup.value(at: sigma[i])
        weights[i] = finish(
          _fastPath(value == value) ? value : weight(atLogSigma: Double.log(sigma[i]), at: step))
      }
    }
  }
}

/// The quantiles of a density that is moved by a few distances.
private struct MovedQuantiles {
  private let base: any NoiseLevels
  private let step: UInt64
  private let process: ContinuousProcess
  private var moved: [Double: any NoiseLevels]

  init(levels: any NoiseLevels, step: UInt64, process: ContinuousProcess) {
    (base, self.step, self.process, moved) = (levels, step, process, [0: levels])
  }

  /// Makes the density moved by a distance.
  mutating func add(_ distance: Double, _ argument: @autoclosure () -> String) throws {
    if moved[distance] == nil {
      moved[distance] = try base.moved(by: distance, at: step, in: process, argument())
    }
  }

  /// σ of a density that was made.
  func sigma(_ fraction: UInt64, movedBy distance: Double) -> Double {
    NoiseLevel((moved[distance] ?? base).logSigma(Probability(fraction: fraction), at: step)).sigma
  }
}

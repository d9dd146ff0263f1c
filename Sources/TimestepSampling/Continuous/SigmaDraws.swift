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

  /// The largest distance in ln σ: that of the range of σ as a Float.
  private static let farthest = 87.0

  /// Throws unless the entries' values are valid.
  func check(_ count: Int) throws {
    let range = Double.exp(-Self.farthest)...Double.exp(Self.farthest)
    if let shifts, let i = (0..<count).first(where: { !range.contains(shifts[$0]) }) {
      throw ArgumentError("shift[\(i)]", "must be above 0, and within e⁻⁸⁷ to e⁸⁷", got: shifts[i])
    }
    if let offsets, let i = (0..<count).first(where: { !(abs(offsets[$0]) <= Self.farthest) }) {
      throw ArgumentError("offset[\(i)]", "must be in [-87, 87]", got: offsets[i])
    }
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
    for i in 0..<sigma.count { sigma[i] = min(NoiseLevel.largest, max(NoiseLevel.smallest, sigma[i])) }
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
    for entry in 0..<slice.count { try moved.move(by: moves.distance(entry), moves.name(entry)) }
    try fill(slice, levels: levels, weights: weights) { run, fractions, sigma in
      for i in 0..<fractions.count {
        try moved.move(by: moves.distance(run + i), moves.name(run + i))
        sigma[i] = moved.sigma(fractions[i])
      }
    }
  }

  /// Draws entries of a step, whose σ `body` finds.
  @inline(__always)
  func fill(
    _ slice: BatchSlice, levels: UnsafeMutablePointer<Float>, weights: UnsafeMutablePointer<Float>,
    _ body: (
      _ first: Int, _ fractions: UnsafeBufferPointer<UInt64>, _ sigma: UnsafeMutableBufferPointer<Double>
    ) throws -> Void
  ) rethrows {
    try withUnsafeTemporaryAllocation(of: Double.self, capacity: RandomStream.chunk) { buffer in
      try BatchFractions(options: options, slice: slice).forEachRun { first, fractions in
        let sigma = UnsafeMutableBufferPointer(rebasing: buffer[..<fractions.count])
        try body(first, fractions, sigma)
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

/// The quantiles of a density that is moved by the same distance for many entries in a row.
private struct MovedQuantiles {
  private let base: any NoiseLevels
  private let step: UInt64
  private let process: ContinuousProcess
  private var distance = 0.0
  private var moved: any NoiseLevels

  init(levels: any NoiseLevels, step: UInt64, process: ContinuousProcess) {
    (base, self.step, self.process, moved) = (levels, step, process, levels)
  }

  mutating func move(by distance: Double, _ argument: @autoclosure () -> String) throws {
    guard distance != self.distance else { return }
    moved = distance == 0 ? base : try base.moved(by: distance, at: step, in: process, argument())
    self.distance = distance
  }

  func sigma(_ fraction: UInt64) -> Double {
    NoiseLevel(moved.logSigma(Probability(fraction: fraction), at: step)).sigma
  }
}

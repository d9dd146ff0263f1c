import NoiseSchedules

/// Tables for a density that is moved by any distance ln a, cut to the process's range and renormalized.
///
/// With the shares B(a) below the range and E(a) above it, a probability p has the moved level a·σ(B + (1-B-E)·p), where σ
/// is the quantile of the density that is moved. B, E and σ are tables, so that a moved draw costs one or two polynomials
/// more than another one. What they leave out comes from the density itself.
final class MoveTable: Sendable {
  /// By a. For a density that lies within the range, one function: B for a < 1, and else E; the other one is 0. For one
  /// that was cut, B and E.
  private let shares: OctaveTable
  /// σ by the distance of 2⁶⁴·p from its nearer end: of the unmoved draws, and for a density that was cut also of what
  /// it was before.
  private let sigma: OctaveTable
  private let wasCut: Bool
  /// What is moved.
  private let base: any NoiseLevels
  private let range: (low: Double, high: Double)
  /// σ at the ends of the range.
  private let bounds: (low: Double, high: Double)
  /// Distances that leave enough of the density in the range.
  private let safe: ClosedRange<Double>

  /// The octaves of a.
  private static let octaves = -6..<6
  /// Less than that is not drawn by the table: 1-B-E would lose precision.
  private static let leastWidth = 0x1p-4

  /// Tabulates levels that never change.
  ///
  /// - Parameter sigma: the table of their own quantile.
  /// - Returns: nil if the levels are not moved as one, as the parts of a mixture, or go to the limits of σ.
  init?(levels: any NoiseLevels, sigma: OctaveTable, process: ContinuousProcess) {
    let range = process.logSigmaRange
    guard levels.isFixed, levels.isMonotone, range.low > -70, range.high < 70 else { return nil }
    let base = levels.uncut ?? levels
    wasCut = levels.uncut != nil
    (self.base, self.range, bounds) = (base, range, (Double.exp(range.low), Double.exp(range.high)))
    func below(_ a: Double) -> Double { base.mass(from: -.infinity, to: range.low - Double.log(a), at: 0) }
    func above(_ a: Double) -> Double { base.mass(from: range.high - Double.log(a), to: .infinity, at: 0) }
    /// A share, where the others leave enough.
    func share(_ share: Double, besides other: Double, within most: Double) -> Double {
      other <= most && 1 - share - other >= Self.leastWidth ? share : .nan
    }
    // No closer than it need be: by `tolerance` of the least probability that σ is tabulated for, and of the least width.
    func error(_ share: Double) -> Double { min(0x1p-40, OctaveTable.tolerance * max(share, 0x1p-14)) }
    if wasCut {
      self.sigma = OctaveTable(
        octaves: NoiseLevelTable.probabilities,
        of: NoiseLevelTable.quantiles(of: levels) + NoiseLevelTable.quantiles(of: base))
      shares = OctaveTable(
        octaves: Self.octaves,
        of: [
          { share(below($0), besides: above($0), within: 1) }, { share(above($0), besides: below($0), within: 1) },
        ], error: error)
    } else {
      self.sigma = sigma
      shares = OctaveTable(
        octaves: Self.octaves,
        of: [
          {
            $0 < 1
              ? share(below($0), besides: above($0), within: 0) : share(above($0), besides: below($0), within: 0)
          }
        ], error: error)
    }
    safe = Self.safeDistances(of: base, in: range)
  }

  /// The distances around 0 that surely leave `leastWidth`.
  private static func safeDistances(of base: any NoiseLevels, in range: (low: Double, high: Double))
    -> ClosedRange<Double>
  {
    func farthest(_ stride: Double) -> Double {
      var reached = 0.0
      while abs(reached) < 16 {
        let next = reached + stride
        // What every distance from one to the other leaves.
        let (low, high) = (range.low - min(reached, next), range.high - max(reached, next))
        guard low < high, base.mass(from: low, to: high, at: 0) >= leastWidth else { break }
        reached = next
      }
      return reached
    }
    return farthest(-0.125)...farthest(0.125)
  }

  /// Throws unless the values are valid, and every entry leaves some probability in the range.
  func check(_ moves: EntryShifts, _ count: Int, in process: ContinuousProcess) throws {
    if moves.areWithin(safe, count) { return }
    try moves.check(count)
    for entry in 0..<count {
      let distance = moves.distance(entry)
      if safe.contains(distance) { continue }
      _ = try base.moved(by: distance, at: 0, in: process, moves.name(entry))
    }
  }

  /// Stores σ of moved entries; NaN where the tables have no value.
  ///
  /// The loops with tables are apart from those without, which are vectorized and have no branches to be guessed.
  ///
  /// - Parameters:
  ///   - fractions: their uniform numbers.
  ///   - factors: a of each. At 1 the draw is that of an unmoved entry to the last bit.
  ///   - sigma: room for as many.
  ///   - scratch: room for as many.
  @inline(__always)
  func store(
    _ fractions: UnsafeBufferPointer<UInt64>, factors: UnsafePointer<Double>,
    into sigma: UnsafeMutablePointer<Double>, scratch: UnsafeMutablePointer<UInt64>
  ) {
    let count = fractions.count
    shares.withLookup { shares in
      for i in 0..<count { (scratch[i], sigma[i]) = shares.place(of: factors[i]) }
      if wasCut {
        for i in 0..<count {
          let (row, offset) = (scratch[i], sigma[i])
          scratch[i] = shares.value(row: row, offset: offset).bitPattern
          sigma[i] = shares.value(row: row &+ 1, offset: offset)
        }
      } else {
        for i in 0..<count { sigma[i] = shares.value(row: scratch[i], offset: sigma[i]) }
      }
    }
    self.sigma.withLookup { quantiles in
      if wasCut {
        for i in 0..<count {
          let isMoved: UInt64 = factors[i] == 1 ? 0 : 2
          let (p, isUpper) = Self.probability(
            fractions[i], begin: Double(bitPattern: scratch[i]), end: sigma[i], factor: factors[i])
          let (row, offset) = quantiles.place(of: p)
          (scratch[i], sigma[i]) = (row &+ isMoved &+ isUpper, offset)
        }
      } else {
        for i in 0..<count {
          // One of the two is 0; a product, because a choice may become a branch.
          let begin = sigma[i] * (factors[i] < 1 ? 1 : 0)
          let (p, isUpper) = Self.probability(
            fractions[i], begin: begin, end: sigma[i] - begin, factor: factors[i])
          let (row, offset) = quantiles.place(of: p)
          (scratch[i], sigma[i]) = (row &+ isUpper, offset)
        }
      }
      for i in 0..<count { sigma[i] = quantiles.value(row: scratch[i], offset: sigma[i]) }
    }
    let (low, high) = bounds
    for i in 0..<count {
      let moved = factors[i] * sigma[i]
      let atLeast = moved < low ? low : moved
      let within = atLeast > high ? high : atLeast
      sigma[i] = factors[i] == 1 ? sigma[i] : within
    }
  }

  /// 2⁶⁴ times the probability in the density that is moved, from its nearer end, and whether that is the upper one.
  @inline(__always)
  private static func probability(_ fraction: UInt64, begin: Double, end: Double, factor: Double)
    -> (p: Double, isUpper: UInt64)
  {
    let (begin, end) = (factor == 1 ? 0 : begin, factor == 1 ? 0 : end)
    // All bits of the nearer end's distance and of the other one's are exchanged, or none.
    let exchange = 0 &- (fraction &>> 63)
    let nearer = Double(Int64(truncatingIfNeeded: fraction ^ exchange))
    let other = 0x1p64 - nearer
    let difference = (nearer.bitPattern ^ other.bitPattern) & exchange
    let width = 1 - begin - end
    let lower = begin * 0x1p64 + width * Double(bitPattern: nearer.bitPattern ^ difference)
    let upper = end * 0x1p64 + width * Double(bitPattern: other.bitPattern ^ difference)
    return upper < lower ? (upper, 1) : (lower, 0)
  }

  /// σ of one entry that is moved, from the density itself.
  func exact(_ fraction: UInt64, movedBy distance: Double) -> Double {
    let moved = MovedLevels(base, by: distance, into: range, at: 0)
    return NoiseLevel(moved.logSigma(Probability(fraction: fraction), at: 0)).sigma
  }
}

/// Quantiles of moved densities, from a table.
struct TabulatedMoves: SigmaSource {
  let own: SigmaQuantiles
  let moves: EntryShifts
  let table: MoveTable

  var tables: LevelCourse.Tables { own.tables }

  @inline(__always)
  func store(
    _ fractions: UnsafeBufferPointer<UInt64>, from first: Int, into sigma: UnsafeMutableBufferPointer<Double>,
    scratch: UnsafeMutablePointer<UInt64>
  ) {
    withUnsafeTemporaryAllocation(of: Double.self, capacity: RandomStream.chunk) { buffer in
      // Neither is empty, so both have base addresses.
      let factors = moves.factors(from: first, sigma.count, room: buffer.baseAddress!)
      table.store(fractions, factors: factors, into: sigma.baseAddress!, scratch: scratch)
      sigma.replaceNaN { i in
        factors[i] == 1 ? own.exact(fractions[i]) : table.exact(fractions[i], movedBy: moves.distance(first &+ i))
      }
    }
  }
}

import NoiseSchedules

/// A curve y(x) ≥ 0 through knots, by cubic pieces that keep the values' rises and falls (PCHIP), and its integrals.
///
/// Source: Fritsch and Butland, "A Method for Constructing Local Monotone Piecewise Cubic Interpolants", 1984, with the
/// one-sided three-point slopes at the ends. It is the curve of SciPy's `PchipInterpolator`.
public struct MonotoneCurve: Sendable {
  /// Where the values are given, rising.
  public let knots: [Double]
  /// The largest value. All values are kept relative to it, so that no integral overflows.
  public let peak: Double
  private let values: [Double]
  /// dy/dx at each knot.
  private let slopes: [Double]
  /// The integral from the first knot up to each knot, and from each knot on to the last one.
  private let below: [Double]
  private let above: [Double]

  /// Joins the knots.
  ///
  /// - Parameters:
  ///   - knots: at least two, rising, within `range`.
  ///   - values: one for each knot, finite and ≥ 0, some above 0.
  ///   - range: where knots may lie.
  /// - Throws: `ArgumentError` that names the first invalid knot or value.
  public init(knots: [Double], values: [Double], in range: ClosedRange<Double>) throws {
    guard knots.count > 1 else {
      throw ArgumentError("knots", "must be at least 2", got: knots.count)
    }
    for (i, knot) in knots.enumerated() {
      guard range.contains(knot) else {
        throw ArgumentError("knots[\(i)]", "must be in [\(range.lowerBound), \(range.upperBound)]", got: knot)
      }
      guard i == 0 || knot > knots[i - 1] else {
        throw ArgumentError("knots[\(i)]", "must be above the knot before it, \(knots[i - 1])", got: knot)
      }
    }
    let peak = try checkTable(values)
    let relative = values.map { $0 / peak }
    let slopes = Self.slopes(knots, relative)
    if let i = slopes.firstIndex(where: { !$0.isFinite }) {
      throw ArgumentError("knots[\(i)]", "must be farther from its neighbours", got: knots[i])
    }
    let curve = Self(knots: knots, peak: peak, values: relative, slopes: slopes, below: [], above: [])
    let masses = (1..<knots.count).map { curve.area(of: $0 - 1, from: knots[$0 - 1], to: knots[$0]) }
    func sums(_ masses: some Sequence<Double>) -> [Double] {
      masses.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1) }
    }
    let below = sums(masses)
    guard below[below.count - 1] >= .leastNormalMagnitude else {
      throw ArgumentError("knots", "must span an area that is not denormal", got: below[below.count - 1])
    }
    self.init(
      knots: knots, peak: peak, values: relative, slopes: slopes, below: below,
      above: sums(masses.reversed()).reversed())
  }

  private init(
    knots: [Double], peak: Double, values: [Double], slopes: [Double], below: [Double], above: [Double]
  ) {
    (self.knots, self.peak, self.values, self.slopes) = (knots, peak, values, slopes)
    (self.below, self.above) = (below, above)
  }

  /// y at x; the value of the nearest knot outside the knots.
  public func value(at x: Double) -> Double {
    guard x > knots[0] else { return values[0] * peak }
    guard x < knots[knots.count - 1] else { return values[values.count - 1] * peak }
    return value(of: piece(at: x), at: x) * peak
  }

  /// The share of the area that lies in [from, to], which may be infinite. There is none outside the knots.
  func mass(from: Double, to: Double) -> Double {
    let (from, to) = (max(from, knots[0]), min(to, knots[knots.count - 1]))
    guard from < to else { return 0 }
    let (first, last) = (piece(at: from), piece(at: to))
    guard first < last else { return area(of: first, from: from, to: to) / total }
    let ends = area(of: first, from: from, to: knots[first + 1]) + area(of: last, from: knots[last], to: to)
    // Differences on the side with the smaller sums lose the least.
    let between =
      below[last] < above[first + 1] ? below[last] - below[first + 1] : above[first + 1] - above[last]
    return (ends + between) / total
  }

  /// The x below which a share of the area lies, as its distances from the first and from the last knot.
  func quantile(_ p: Probability) -> (fromFirst: Double, fromLast: Double) {
    let isLower = p.lower < 0.5
    let sums = isLower ? below : above
    let target = (isLower ? p.lower : p.upper) * total
    // The piece whose sum up to its nearer knot does not reach the target, and up to its other knot does.
    let last = knots.count - 2
    var piece = isLower ? below.partition { $0 <= target } - 1 : above.partition { $0 > target } - 1
    piece = min(last, max(0, piece))
    let rest = target - sums[isLower ? piece : piece + 1]
    let width = knots[piece + 1] - knots[piece]
    let share = solve(piece, rest / width, fromLeft: isLower)
    let (left, right) = isLower ? (share, 1 - share) : (1 - share, share)
    return (
      knots[piece] - knots[0] + width * left, knots[knots.count - 1] - knots[piece + 1] + width * right
    )
  }

  private var total: Double { below[below.count - 1] }

  // MARK: One piece

  /// The piece that holds x, which lies within the knots.
  private func piece(at x: Double) -> Int { min(knots.count - 2, knots.partition { $0 <= x } - 1) }

  private func value(of piece: Int, at x: Double) -> Double {
    let width = knots[piece + 1] - knots[piece]
    return value(of: piece, left: (x - knots[piece]) / width, right: (knots[piece + 1] - x) / width)
  }

  /// y where `left` and `right`, with sum 1, are the distances from the piece's knots, relative to its width.
  private func value(of piece: Int, left: Double, right: Double) -> Double {
    let width = knots[piece + 1] - knots[piece]
    let bend = width * left * right * (slopes[piece] * right - slopes[piece + 1] * left)
    return max(
      0,
      values[piece] * right * right * (1 + 2 * left) + values[piece + 1] * left * left * (1 + 2 * right) + bend)
  }

  /// The two points of Gauss's rule, which is exact for a cubic, in [-1, 1].
  private static let gaussPoint = (1.0 / 3).squareRoot()

  /// The integral over a part of a piece.
  private func area(of piece: Int, from: Double, to: Double) -> Double {
    let (middle, half) = (from + (to - from) / 2, (to - from) / 2)
    let offset = half * Self.gaussPoint
    return half * (value(of: piece, at: middle - offset) + value(of: piece, at: middle + offset))
  }

  /// The distance from one of a piece's knots, relative to its width, up to which the area is `target` widths: Newton's
  /// method, kept within a bracket that it narrows.
  private func solve(_ piece: Int, _ target: Double, fromLeft: Bool) -> Double {
    func value(_ share: Double) -> Double {
      fromLeft
        ? self.value(of: piece, left: share, right: 1 - share) : self.value(of: piece, left: 1 - share, right: share)
    }
    func area(_ share: Double) -> Double {
      let half = share / 2
      return half * (value(half - half * Self.gaussPoint) + value(half + half * Self.gaussPoint))
    }
    var (low, high) = (0.0, 1.0)
    var share = 0.5
    for _ in 0..<200 {
      let excess = area(share) - target
      if excess < 0 { low = share } else { high = share }
      let newton = share - excess / value(share)
      let next = newton > low && newton < high ? newton : low + (high - low) / 2
      guard abs(next - share) > 4e-16 * share else { return next }
      share = next
    }
    return share
  }

  // MARK: Slopes

  private static func slopes(_ knots: [Double], _ values: [Double]) -> [Double] {
    let widths = zip(knots, knots.dropFirst()).map { $1 - $0 }
    let secants = widths.indices.map { (values[$0 + 1] - values[$0]) / widths[$0] }
    let last = secants.count - 1
    guard last > 0 else { return [secants[0], secants[0]] }
    let inner = (1...last).map { i in
      harmonicMean(secants[i - 1], secants[i], 2 * widths[i] + widths[i - 1], widths[i] + 2 * widths[i - 1])
    }
    return [endSlope(widths[0], widths[1], secants[0], secants[1])] + inner
      + [endSlope(widths[last], widths[last - 1], secants[last], secants[last - 1])]
  }

  /// The weighted harmonic mean of two slopes, and 0 at an extremum.
  private static func harmonicMean(_ a: Double, _ b: Double, _ weightA: Double, _ weightB: Double) -> Double {
    guard a > 0 && b > 0 || a < 0 && b < 0 else { return 0 }
    return (weightA + weightB) / (weightA / a + weightB / b)
  }

  /// The slope at an end from its two nearest secants, cut so that the curve keeps its direction.
  private static func endSlope(_ width: Double, _ next: Double, _ secant: Double, _ nextSecant: Double) -> Double {
    let slope = ((2 * width + next) * secant - width * nextSecant) / (width + next)
    guard slope * secant > 0 else { return 0 }
    return secant * nextSecant <= 0 && abs(slope) > 3 * abs(secant) ? 3 * secant : slope
  }
}

/// The largest of a user's values.
///
/// - Throws: `ArgumentError` unless all are finite and ≥ 0, and one is above 0.
func checkTable(_ values: [Double]) throws -> Double {
  if let i = values.firstIndex(where: { !($0 >= 0 && $0.isFinite) }) {
    throw ArgumentError("values[\(i)]", "must be finite and at least 0", got: values[i])
  }
  guard let peak = values.max(), peak > 0 else {
    throw ArgumentError("values", "must have one above 0", got: values.isEmpty ? "none" : "zeros alone")
  }
  return peak
}

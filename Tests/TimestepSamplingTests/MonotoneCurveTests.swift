import NoiseSchedules
import Testing

@testable import TimestepSampling

@Suite("Curves through knots")
struct MonotoneCurveTests {
  static let curves: [MonotoneCurve] = [
    try! MonotoneCurve(knots: [0, 1], values: [1, 1], in: 0...1),
    try! MonotoneCurve(knots: [0, 1], values: [0, 3], in: 0...1),
    try! MonotoneCurve(knots: [0, 0.3, 1], values: [0.2, 1, 0.1], in: 0...1),
    try! MonotoneCurve(knots: [0.1, 0.2, 0.4, 0.6, 0.9], values: [0, 4, 0, 0, 1], in: 0...1),
    try! MonotoneCurve(knots: [0.25, 0.25 + 1e-9, 1], values: [1e300, 0, 1e299], in: 0...1),
  ]

  @Test("Straight lines are themselves, with their areas")
  func lines() {
    for x in [0, 0.125, 0.5, 1] {
      #expect(Self.curves[0].value(at: x) == 1)
      #expect(abs(Self.curves[1].value(at: x) - 3 * x) < 1e-15)
      #expect(abs(Self.curves[1].mass(from: 0, to: x) - x * x) < 1e-15)
    }
    #expect(Self.curves[1].value(at: -5) == 0)
    #expect(Self.curves[1].value(at: 7) == 3)
  }

  @Test("Quantiles and masses invert each other from both ends", arguments: curves)
  func quantiles(_ curve: MonotoneCurve) {
    let (first, last) = (curve.knots[0], curve.knots[curve.knots.count - 1])
    #expect(abs(curve.mass(from: -.infinity, to: .infinity) - 1) < 1e-15)
    for lower in [0x1p-64, 1e-12, 1e-3, 0.2, 0.4999, 0.5] {
      for p in [Probability(lower: lower, upper: 1 - lower), Probability(lower: 1 - lower, upper: lower)] {
        let (fromFirst, fromLast) = curve.quantile(p)
        #expect(fromFirst >= 0 && fromLast >= 0)
        #expect(abs(fromFirst + fromLast - (last - first)) < 1e-15)
        let below = curve.mass(from: first, to: first + fromFirst)
        #expect(abs(below - p.lower) < 1e-12)
        #expect(p.lower > 0.5 || first != 0 || abs(below / p.lower - 1) < 1e-9)
      }
    }
  }

  @Test("The curve stays between its knots' values", arguments: curves)
  func monotone(_ curve: MonotoneCurve) {
    for (from, to) in zip(curve.knots, curve.knots.dropFirst()) {
      let ends = (curve.value(at: from), curve.value(at: to))
      let (low, high) = (min(ends.0, ends.1), max(ends.0, ends.1))
      for k in 0...100 {
        let value = curve.value(at: from + (to - from) * Double(k) / 100)
        #expect(value >= low * (1 - 1e-14) && value <= high * (1 + 1e-14))
      }
    }
  }
}

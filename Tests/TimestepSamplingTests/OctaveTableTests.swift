import Testing

@testable import NoiseSchedules
@testable import TimestepSampling

@Suite("Tables of smooth functions")
struct OctaveTableTests {
  /// Numbers over the octaves, not those that the table is checked at.
  static var numbers: [Double] { (0..<20_000).map { Double.exp(-11 + 22 * (Double($0) + 0.377) / 20_000) } }

  @Test("A smooth function is met to far less than a float's rounding")
  func smoothFunctions() {
    let functions: [(Double) -> Double] = [
      { Double.log($0) + 20 }, { 1 / (1 + $0) }, { $0 * $0 }, { Double.pow($0, -1.7) }, { _ in 1.3 },
    ]
    let table = OctaveTable(octaves: -16..<16, of: functions)
    table.withLookup { lookup in
      for (place, function) in functions.enumerated() {
        let errors = Self.numbers.map { abs(lookup.value(at: $0, of: UInt64(place)) / function($0) - 1) }
        #expect(errors.max()! < 1e-10, "function \(place)")
      }
    }
  }

  @Test("A constant is kept to the last bit")
  func constants() {
    OctaveTable(octaves: -16..<16, of: [{ _ in 0.1 }]).withLookup { lookup in
      for x in Self.numbers { #expect(lookup.value(at: x) == 0.1) }
    }
  }

  @Test("Beside a kink, a jump or a pole there is no value, and elsewhere a close one")
  func kinks() {
    for kink in [0.9, 1, 1.000_001, 1.06, 1.124_99] {
      let functions: [(Double) -> Double] = [
        { min($0, kink) }, { $0 < kink ? $0 : $0 + 1e-3 }, { max($0 - kink, 0) + 1 }, { 1 / abs($0 - kink) },
      ]
      OctaveTable(octaves: -16..<16, of: functions).withLookup { lookup in
        for (place, function) in functions.enumerated() {
          for x in Self.numbers {
            let value = lookup.value(at: x, of: UInt64(place))
            let isNear = abs(x - kink) < 0.13
            #expect(value.isNaN ? isNear || place == 3 : abs(value / function(x) - 1) < 1e-9, "\(place) at \(x)")
          }
        }
      }
    }
  }

  @Test(
    "Outside its octaves there is no value",
    arguments: [0, 0x1p-17, 0x1p16, Double.infinity, Double.nan, -1, Double.leastNonzeroMagnitude])
  func outside(x: Double) {
    OctaveTable(octaves: -16..<16, of: [{ $0 }, { $0 }]).withLookup { lookup in
      #expect(lookup.value(at: x).isNaN)
      #expect(lookup.value(at: x, of: 1).isNaN)
    }
  }

  @Test("The exponential function of sums and products is the C library's to a few units")
  func exponentialFunction() {
    for i in -100_000...100_000 {
      let x = Double(i) * 0.00087
      #expect(abs(exponential(x) / Double.exp(x) - 1) < 1e-15, "\(x)")
    }
    #expect(exponential(0) == 1)
  }
}

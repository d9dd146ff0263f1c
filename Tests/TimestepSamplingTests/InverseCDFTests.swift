import Testing

@testable import TimestepSampling

@Suite struct InverseCDFTests {
  static let distributions: [[Double]] = [
    [0.5, 0.5],
    [0.25, 0, 0, 0.75],
    [0, 0, 1, 0],
    [1e-19, 1 - 2e-19, 1e-19],
    asymmetric, cauchy, gaps,
  ]
  static let asymmetric: [Double] = (0..<1000).map { $0 < 700 ? 5.0 / 3800 : 1.0 / 3800 }
  /// Nearly all mass on a few steps, with many boundaries in one entry of the guide.
  static let cauchy: [Double] = normalized(
    (0..<3000).map { (i: Int) -> Double in
      let x = Double(i - 1500)
      return 1 / (1 + x * x)
    })
  static let gaps: [Double] = normalized((0..<5000).map { (i: Int) -> Double in i % 3 == 0 ? 0 : Double(i % 7) })

  static func normalized(_ values: [Double]) -> [Double] {
    let sum = values.reduce(0, +)
    return values.map { $0 / sum }
  }

  @Test("The guide gives the step of a binary search, or none", arguments: distributions)
  func guide(_ probabilities: [Double]) {
    var generator = SystemRandomNumberGenerator()
    InverseCDF(probabilities).withLookup { lookup in
      for i in 0..<200_000 {
        // Random words, and words next to the boundaries of 12 leading bits.
        let near = UInt32(truncatingIfNeeded: (i & 4095) << 20 + (i >> 12) - 20)
        let word = i.isMultiple(of: 2) ? generator.next() : near
        let least = lookup.searchedStep(of: UInt64(word) << 32)
        let most = lookup.searchedStep(of: UInt64(word) << 32 | 0xFFFF_FFFF)
        if let step = lookup.step(least: word, most: word) {
          #expect(step == least && step == most)
        }
      }
    }
  }

  @Test("Each step's interval has its probability, and steps with P > 0 have one", arguments: distributions)
  func intervals(_ probabilities: [Double]) {
    InverseCDF(probabilities).withLookup { lookup in
      // The end of a step's interval, by bisection over all 2⁶⁴ fractions.
      func firstFraction(beyond step: Int) -> Double {
        var low: UInt64 = 0
        var high = UInt64.max
        guard lookup.searchedStep(of: high) > step else { return 0x1p64 }
        while low < high {
          let middle = low + (high - low) / 2
          if lookup.searchedStep(of: middle) > step { high = middle } else { low = middle + 1 }
        }
        return Double(low)
      }
      var start = 0.0
      for (step, p) in probabilities.enumerated() {
        let end = firstFraction(beyond: step)
        if p == 0 { #expect(end == start) }
        #expect(abs((end - start) / 0x1p64 - p) <= 1e-15 + p * 1e-12, "step \(step)")
        start = end
      }
      #expect(start == 0x1p64)
    }
  }

  @Test("The smallest and the largest fraction give the first and the last step with P > 0")
  func ends() {
    InverseCDF([0, 1e-19, 1, 1e-30, 0]).withLookup { lookup in
      #expect(lookup.searchedStep(of: 0) == 1)
      #expect(lookup.searchedStep(of: .max) == 3)
      #expect(lookup.searchedStep(of: .max - 1) == 2)
    }
  }
}

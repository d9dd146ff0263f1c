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

  @Test("The guide gives the step of a binary search, or leaves it undecided", arguments: distributions)
  func guide(_ probabilities: [Double]) {
    var generator = SystemRandomNumberGenerator()
    let buffer = UnsafeMutablePointer<UInt64>.allocate(capacity: 3 * RandomStream.chunk)
    defer { buffer.deallocate() }
    let (least, most, steps) = (buffer, buffer + RandomStream.chunk, buffer + 2 * RandomStream.chunk)
    InverseCDF(probabilities).withLookup { lookup in
      for chunk in 0..<4000 {
        let bounds = (0..<RandomStream.chunk).map { i -> (UInt32, UInt32) in
          // Random words, words next to the edges of the guide's entries, and ranges of a few words.
          let edge = UInt32(truncatingIfNeeded: chunk * RandomStream.chunk + i) << 20 &- UInt32(i % 3)
          let word = i.isMultiple(of: 2) ? generator.next() : edge
          return (word, word &+ (word < .max - 2 ? UInt32(chunk % 3) : 0))
        }
        for (place, bound) in bounds.enumerated() {
          // What stands in the upper half is garbage.
          least[place] = UInt64(bound.0) | generator.next() << 32
          most[place] = UInt64(bound.1) | generator.next() << 32
        }
        var undecided = Set<Int>()
        lookup.storeSteps(least: least, most: most, into: steps) {
          undecided.insert($0)
          return 0
        }
        for (place, bound) in bounds.enumerated() where !undecided.contains(place) {
          let first = lookup.searchedStep(of: UInt64(bound.0) << 32)
          let last = lookup.searchedStep(of: UInt64(bound.1) << 32 | 0xFFFF_FFFF)
          #expect(first == last && steps[place] == UInt64(first))
        }
      }
    }
  }

  @Test("Of usual samplings the guide decides nearly every draw")
  func guideDecides() {
    let words = UnsafeMutablePointer<UInt64>.allocate(capacity: 2 * RandomStream.chunk)
    defer { words.deallocate() }
    for probabilities in [Self.asymmetric, Self.cauchy] {
      var undecided = 0
      InverseCDF(probabilities).withLookup { lookup in
        for block in 0..<1000 {
          RandomStream(seed: 0, purpose: .draw, step: 0).store(fromBlock: UInt32(16 * block), into: words)
          lookup.storeSteps(least: words, most: words, into: words + RandomStream.chunk) { _ in
            undecided += 1
            return 0
          }
        }
      }
      #expect(undecided < 64_000 / 50)
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

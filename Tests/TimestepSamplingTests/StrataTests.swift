import Testing

@testable import TimestepSampling

@Suite struct StrataTests {
  @Test("Every fraction lies in its stratum", arguments: [1, 2, 3, 7, 64, 1000, 4097, 1 << 20, (1 << 31) - 1, 1 << 31])
  func fractions(count: Int) {
    let scale = StrataScale(count: count)
    let strata = [0, 1, count / 3, count / 2, count - 2, count - 1].filter { (0..<count).contains($0) }
    for stratum in strata {
      for jitter in [0, 1, 0x8000_0000, UInt32.max] {
        let fraction = scale.fraction(stratum: UInt32(stratum), jitter: jitter)
        #expect(fraction.multipliedFullWidth(by: UInt64(count)).high == UInt64(stratum))
        let exact = (Double(stratum) + Double(jitter) / 0x1p32) / Double(count)
        #expect(abs(Double(fraction) / 0x1p64 - exact) < 1e-15)
        // The second word adds less than this, and stays within the stratum.
        let slack = (1 << 32) / UInt64(count)
        let (last, overflow) = fraction.addingReportingOverflow(slack > 3 ? slack - 4 : 0)
        #expect(!overflow && last.multipliedFullWidth(by: UInt64(count)).high == UInt64(stratum))
      }
    }
  }

  /// Counts how often each permutation of a small batch comes.
  @Test("All orders of a small batch are equally likely", arguments: [2, 3, 4, 5])
  func smallOrders(count: Int) {
    let steps = 60_000
    var counts: [[UInt32]: Int] = [:]
    for step in 0..<steps { counts[order(of: count, step: UInt64(step)), default: 0] += 1 }
    let orders = (1...count).reduce(1, *)
    #expect(counts.count == orders)
    expectUniform(counts.values.map { $0 }, cells: orders)
  }

  @Test("A large batch's order is a permutation", arguments: [64, 65, 100, 127, 128, 129, 1000, 4096, 5003])
  func largeOrders(count: Int) {
    for step in [0, 1, 1 << 40] as [UInt64] {
      let order = order(of: count, step: step)
      #expect(order.sorted() == (0..<UInt32(count)).map { $0 })
      let single = StrataOrder(seed: 7, step: step, total: count)
      #expect(order.indices.allSatisfy { single[$0] == order[$0] })
    }
  }

  @Test("A place of a large batch gets every stratum alike", arguments: [65, 127, 128, 130])
  func placesOfLargeOrders(count: Int) {
    var first = [Int](repeating: 0, count: count)
    var pairs = [Int](repeating: 0, count: 64)
    for step in 0..<60_000 {
      let order = order(of: count, step: UInt64(step))
      first[Int(order[0])] += 1
      // Neighbours in the batch, by the eighth of [0, 1) they fall into.
      pairs[Int(order[0]) * 8 / count * 8 + Int(order[1]) * 8 / count] += 1
    }
    expectUniform(first, cells: count)
    if count == 128 {
      // Two different strata share an eighth with probability 15/127, else each pair of eighths is as likely.
      let same = (0..<8).reduce(0) { $0 + pairs[9 * $1] }
      let expected = 60_000 * 15.0 / 127
      #expect(abs(Double(same) - expected) < 5 * (expected * 112 / 127).squareRoot())
    }
  }

  private func order(of count: Int, step: UInt64) -> [UInt32] {
    let order = StrataOrder(seed: 7, step: step, total: count)
    var result = [UInt32](repeating: 0, count: count)
    for first in stride(from: 0, to: count, by: RandomStream.chunk) {
      order.forEach(fromIndex: UInt32(first)) { place, stratum in
        let index = first + Philox4x32.index(at: place)
        if index < count { result[index] = stratum }
      }
    }
    return result
  }
}

/// Fails if counts differ from equal shares by more than chance: χ² within five standard deviations of its mean.
func expectUniform(_ counts: [Int], cells: Int, sourceLocation: SourceLocation = #_sourceLocation) {
  let expected = Double(counts.reduce(0, +)) / Double(cells)
  let seen = counts.reduce(0.0) { $0 + (Double($1) - expected) * (Double($1) - expected) / expected }
  let chiSquare = seen + Double(cells - counts.count) * expected
  let freedom = Double(cells - 1)
  #expect(abs(chiSquare - freedom) < 5 * (2 * freedom).squareRoot() + 5, sourceLocation: sourceLocation)
}

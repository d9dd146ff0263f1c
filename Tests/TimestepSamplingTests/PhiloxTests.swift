import Testing

@testable import TimestepSampling

@Suite struct PhiloxTests {
  struct KnownAnswer: Sendable {
    let counter: SIMD4<UInt32>
    let key: SIMD2<UInt32>
    let block: SIMD4<UInt32>
  }

  /// By the authors of Philox (Random123).
  static let knownAnswers = [
    KnownAnswer(
      counter: SIMD4(repeating: 0), key: SIMD2(repeating: 0),
      block: SIMD4(0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8)),
    KnownAnswer(
      counter: SIMD4(repeating: UInt32.max), key: SIMD2(repeating: UInt32.max),
      block: SIMD4(0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd)),
    KnownAnswer(
      counter: SIMD4(0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344), key: SIMD2(0xa409_3822, 0x299f_31d0),
      block: SIMD4(0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1)),
  ]

  @Test("Philox4x32-10 meets its known answers", arguments: knownAnswers)
  func meetsKnownAnswers(_ answer: KnownAnswer) {
    #expect(Philox4x32.block(counter: answer.counter, key: answer.key) == answer.block)
  }

  @Test("The vector form gives the same words as the scalar one", arguments: [0, 5, UInt32.max - 3])
  func vectorForm(first: UInt32) {
    let counter = SIMD3<UInt32>(3, 0xdead_beef, 7)
    let key = SIMD2<UInt32>(0xffff_fffe, 0x8000_0001)
    let words = UnsafeMutablePointer<UInt64>.allocate(capacity: 64)
    defer { words.deallocate() }
    Philox4x32.storeBlocks(from: first, counter, key: key, into: words)
    for b in 0..<Philox4x32.lanes {
      let block = Philox4x32.block(
        counter: SIMD4(first &+ UInt32(b), counter[0], counter[1], counter[2]), key: key)
      for w in 0..<4 {
        #expect(UInt32(truncatingIfNeeded: words[Philox4x32.place(b, w)]) == block[w])
      }
    }
  }

  @Test("Purposes keep their numbers for ever")
  func purposes() {
    let expected: [(RandomPurpose, UInt32)] = [
      (.draw, 0), (.drawRefinement, 1), (.strataOrder, 2), (.strataJitter, 3), (.strataRefinement, 4),
      (.noise, 5), (.labelDropout, 6), (.mask, 7), (.initialization, 8), (.dataOrder, 9),
    ]
    for (purpose, number) in expected { #expect(purpose.rawValue == number) }
  }
}

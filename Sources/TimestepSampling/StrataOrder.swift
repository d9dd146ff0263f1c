/// Which stratum each entry of a global batch gets: a permutation that is drawn anew for each training step.
struct StrataOrder {
  private enum Permutation {
    /// The whole permutation, for batches that fit into one chunk: uniform over all permutations.
    case shuffled(SIMD64<UInt32>)
    /// A permutation that needs no table, for larger batches.
    case keyed(KeyedPermutation)
  }

  private let permutation: Permutation
  private let lastIndex: UInt32

  /// - Parameter total: the size of the global batch, 1…2³¹.
  init(seed: UInt64, step: UInt64, total: Int) {
    let stream = RandomStream(seed: seed, purpose: .strataOrder, step: step)
    permutation =
      total <= RandomStream.chunk
      ? .shuffled(Self.shuffle(total, stream)) : .keyed(KeyedPermutation(count: total, stream: stream))
    lastIndex = UInt32(total - 1)
  }

  /// The stratum of one entry.
  subscript(index: Int) -> UInt32 {
    switch permutation {
    case .shuffled(let table): table[index]
    case .keyed(let permutation): permutation(SIMD16(repeating: UInt32(index)))[0]
    }
  }

  /// Passes the strata of the 64 entries from `first`, a multiple of 4, on, with their place in the generator's order.
  /// Entries past the end of the batch get any stratum.
  @inline(__always)
  func forEach(fromIndex first: UInt32, _ body: (_ place: Int, _ stratum: UInt32) -> Void) {
    for group in 0..<4 {
      let lane = SIMD16<UInt32>(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
      var index = lane &+ SIMD16(repeating: first &+ UInt32(16 &* group))
      // The permutation is defined on the batch alone.
      index.replace(with: SIMD16(repeating: lastIndex), where: index .> SIMD16(repeating: lastIndex))
      let strata =
        switch permutation {
        case .shuffled(let table): Self.lookUp(index, in: table)
        case .keyed(let permutation): permutation(index)
        }
      for i in 0..<16 { body(Philox4x32.place(4 &* group &+ i &>> 2, i & 3), strata[i]) }
    }
  }

  private static func lookUp(_ index: SIMD16<UInt32>, in table: SIMD64<UInt32>) -> SIMD16<UInt32> {
    var result = SIMD16<UInt32>()
    for i in 0..<16 { result[i] = table[Int(index[i])] }
    return result
  }

  /// Durstenfeld's shuffle: for i from total-1 down to 1, entry i changes places with entry ⌊word_i·(i+1)/2³²⌋.
  private static func shuffle(_ total: Int, _ stream: RandomStream) -> SIMD64<UInt32> {
    var table = SIMD64<UInt32>()
    for i in 0..<RandomStream.chunk { table[i] = UInt32(i) }
    for i in stride(from: total - 1, to: 0, by: -1) {
      let other = Int((UInt64(stream.word(at: i)) &* UInt64(i + 1)) &>> 32)
      (table[i], table[other]) = (table[other], table[i])
    }
    return table
  }
}

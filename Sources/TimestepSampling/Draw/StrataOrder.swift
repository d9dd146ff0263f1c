/// Which stratum each entry of a global batch gets: a permutation that is drawn anew for each training step.
struct StrataOrder {
  private enum Permutation {
    /// The whole permutation, for batches that fit into one chunk: uniform over all permutations.
    case shuffled(SIMD64<UInt32>)
    /// A permutation that needs no table, for larger batches.
    case keyed(KeyedPermutation)
  }

  private let permutation: Permutation

  /// - Parameter total: the size of the global batch, 1…2³¹.
  init(seed: UInt64, step: UInt64, total: Int) {
    let stream = RandomStream(seed: seed, purpose: .strataOrder, step: step)
    permutation =
      total <= RandomStream.chunk
      ? .shuffled(Self.shuffle(total, stream)) : .keyed(KeyedPermutation(count: total, stream: stream))
  }

  /// The stratum of one entry.
  subscript(index: Int) -> UInt32 {
    switch permutation {
    case .shuffled(let table): table[index]
    case .keyed(let permutation): permutation.value(at: UInt32(index))
    }
  }

  /// Passes the strata of the 64 entries from `first`, a multiple of 4, on, with their place in the generator's order.
  /// Entries past the end of the batch get any stratum.
  @inline(__always)
  func forEach(fromIndex first: UInt32, _ body: (_ place: Int, _ stratum: UInt32) -> Void) {
    withUnsafeTemporaryAllocation(of: UInt32.self, capacity: RandomStream.chunk) { strata in
      switch permutation {
      case .shuffled(let table):
        // The whole batch is one chunk.
        withUnsafeBytes(of: table) { bytes in
          let table = bytes.bindMemory(to: UInt32.self)
          for i in 0..<RandomStream.chunk { strata[i] = table[min(Int(first) &+ i, RandomStream.chunk &- 1)] }
        }
      case .keyed(let permutation):
        for group in stride(from: 0, to: RandomStream.chunk, by: 16) {
          // The allocation is not empty, so it has a base address.
          UnsafeMutableRawPointer(strata.baseAddress! + group)
            .storeBytes(of: permutation.values(from: first &+ UInt32(group)), as: KeyedPermutation.Lanes.self)
        }
      }
      for block in 0..<Philox4x32.lanes {
        for word in 0..<4 { body(Philox4x32.place(block, word), strata[4 &* block &+ word]) }
      }
    }
  }

  /// Durstenfeld's shuffle: for i from total-1 down to 1, entry i changes places with entry ⌊word_i·(i+1)/2³²⌋.
  private static func shuffle(_ total: Int, _ stream: RandomStream) -> SIMD64<UInt32> {
    var table = SIMD64<UInt32>()
    withUnsafeMutableBytes(of: &table) { bytes in
      let strata = bytes.bindMemory(to: UInt32.self)
      for i in 0..<RandomStream.chunk { strata[i] = UInt32(i) }
      withUnsafeTemporaryAllocation(of: UInt64.self, capacity: RandomStream.chunk) { words in
        // The allocation is not empty, so it has a base address.
        stream.store(fromBlock: 0, into: words.baseAddress!)
        for i in stride(from: total - 1, to: 0, by: -1) {
          let word = words[Philox4x32.place(i &>> 2, i & 3)] & 0xFFFF_FFFF
          strata.swapAt(i, Int((word &* UInt64(i + 1)) &>> 32))
        }
      }
    }
    return table
  }
}

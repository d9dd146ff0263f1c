/// Room for what a source prepares.
struct ChunkBuffers {
  /// The random words of one chunk.
  let words: RandomWords
  /// The strata of one chunk's entries.
  let strata: UnsafeMutablePointer<UInt32>

  static func with<Result>(_ body: (ChunkBuffers) -> Result) -> Result {
    // A larger alignment would take the memory from the heap.
    withUnsafeTemporaryAllocation(byteCount: RandomStream.chunk * (8 + 4), alignment: 16) { bytes in
      // The allocation is not empty, so it has a base address.
      let words = bytes.baseAddress!.bindMemory(to: UInt64.self, capacity: RandomStream.chunk)
      let strata = UnsafeMutableRawPointer(words + RandomStream.chunk)
        .bindMemory(to: UInt32.self, capacity: RandomStream.chunk)
      return body(ChunkBuffers(words: RandomWords(storage: words), strata: strata))
    }
  }
}

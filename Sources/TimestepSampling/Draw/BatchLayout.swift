import NoiseSchedules

/// A run of consecutive entries of one training step's global batch.
public struct BatchSlice: Sendable, Equatable {
  /// The largest global batch: entries are numbered with 31 bits.
  public static let maximumTotal = 1 << 31

  /// The training (optimizer) step, counted from 0.
  public let step: UInt64
  /// The first entry.
  public let offset: Int
  /// The number of entries.
  public let count: Int
  /// The size of the global batch.
  public let total: Int

  /// Describes entries `offset..<offset + count` of `total`.
  ///
  /// - Throws: `ArgumentError` unless 0 ≤ offset, 0 ≤ count, offset + count ≤ total ≤ 2³¹.
  public init(step: UInt64, offset: Int, count: Int, total: Int) throws {
    guard total >= 0 else { throw ArgumentError("total", "must be at least 0", got: total) }
    guard total <= Self.maximumTotal else {
      throw ArgumentError("total", "must be at most \(Self.maximumTotal)", got: total)
    }
    guard count >= 0 else { throw ArgumentError("n", "must be at least 0", got: count) }
    guard offset >= 0 else { throw ArgumentError("offset", "must be at least 0", got: offset) }
    guard offset <= total, count <= total - offset else {
      throw ArgumentError("offset", "plus n = \(count) must be at most total = \(total)", got: offset)
    }
    self.step = step
    self.offset = offset
    self.count = count
    self.total = total
  }
}

/// How ranks and micro-batches share the global batch of a training step.
///
/// With n entries per call, a step's global batch has accumulation·worldSize·n entries. Call c of rank r is micro-batch
/// `a = c mod accumulation` of step `c ÷ accumulation` and takes the n entries from (a·worldSize + r)·n on. The global
/// batch is therefore the same however it is divided, no two calls share an entry, and no communication is needed.
public struct BatchLayout: Sendable, Equatable {
  /// This process among `worldSize`.
  public let rank: Int
  /// The number of processes that share each global batch.
  public let worldSize: Int
  /// The number of micro-batches per training step.
  public let accumulation: Int

  /// One process without accumulation.
  public static let single = BatchLayout()

  private init() { (rank, worldSize, accumulation) = (0, 1, 1) }

  /// Describes a layout.
  ///
  /// - Throws: `ArgumentError` unless 0 ≤ rank < worldSize ≤ 2³¹ and 1 ≤ accumulation ≤ 2³¹.
  public init(rank: Int = 0, worldSize: Int = 1, accumulation: Int = 1) throws {
    guard worldSize >= 1, worldSize <= BatchSlice.maximumTotal else {
      throw ArgumentError("world_size", "must be in [1, \(BatchSlice.maximumTotal)]", got: worldSize)
    }
    guard rank >= 0, rank < worldSize else {
      throw ArgumentError("rank", "must be at least 0 and below world_size = \(worldSize)", got: rank)
    }
    guard accumulation >= 1, accumulation <= BatchSlice.maximumTotal else {
      throw ArgumentError("accumulation", "must be in [1, \(BatchSlice.maximumTotal)]", got: accumulation)
    }
    self.rank = rank
    self.worldSize = worldSize
    self.accumulation = accumulation
  }

  /// The entries of a call with `count` local entries.
  ///
  /// - Throws: `ArgumentError` if count is negative, or the global batch would exceed 2³¹ entries.
  public func slice(call: UInt64, count: Int) throws -> BatchSlice {
    guard count >= 0 else { throw ArgumentError("n", "must be at least 0", got: count) }
    let (entries, overflow) = (worldSize * accumulation).multipliedReportingOverflow(by: count)
    guard !overflow, entries <= BatchSlice.maximumTotal else {
      throw ArgumentError(
        "n",
        "times world_size = \(worldSize) times accumulation = \(accumulation) must be at most "
          + "\(BatchSlice.maximumTotal)", got: count)
    }
    let (step, microBatch) = call.quotientAndRemainder(dividingBy: UInt64(accumulation))
    return try BatchSlice(
      step: step, offset: (Int(microBatch) * worldSize + rank) * count, count: count, total: entries)
  }

  /// - Throws: `ArgumentError` unless `calls` calls from `firstCall` on can be drawn, even if there are none.
  public func check(calls: Int, from firstCall: UInt64, count: Int) throws {
    _ = try slice(call: firstCall, count: count)
    guard calls >= 0, firstCall <= Int.max - calls else {
      throw ArgumentError("calls", "must be at least 0 and keep first_call + calls within 63 bits", got: calls)
    }
    guard !calls.multipliedReportingOverflow(by: max(count, 1)).overflow else {
      throw ArgumentError("calls", "must keep calls·n below 2⁶³", got: calls)
    }
  }
}

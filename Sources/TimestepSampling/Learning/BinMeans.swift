import NoiseSchedules

/// Running means of losses in bins of equal width in t.
///
/// Each entry moves its bin's mean: m ← decay·m + (1-decay)·x from m = 0, with the bias of that start divided out.
struct BinMeans: Sendable {
  /// What a bin without an entry counts as. A later stage of training may draw it.
  enum Gap {
    case zero
    /// The mean of the bins with one.
    case average
    /// The nearest bin with one, the lower of two.
    case nearest
  }

  private let steps: Int
  private let decay: Double
  private var sums: [Double]
  /// 1-decayⁿ after n entries.
  private var shares: [Double]
  /// Whether each bin with a step that can be drawn has had an entry.
  private var isWarm = false

  static func check(bins: Int, decay: Double) throws {
    guard bins >= 1, bins <= NoiseSchedule.maximumSteps else {
      throw ArgumentError("bins", "must be in [1, \(NoiseSchedule.maximumSteps)]", got: bins)
    }
    guard decay >= 0, decay < 1 else { throw ArgumentError("decay", "must be in [0, 1)", got: decay) }
  }

  /// - Throws: `ArgumentError` if there are more bins than steps: some would hold none.
  init(bins: Int, decay: Double, steps: Int) throws {
    guard bins <= steps else {
      throw ArgumentError("bins", "must be at most the number of steps (\(steps))", got: bins)
    }
    self.steps = steps
    self.decay = decay
    sums = [Double](repeating: 0, count: bins)
    shares = sums
  }

  /// The bin of a step.
  func bin(of step: Int) -> Int { step * sums.count / steps }

  /// Adds each entry's weight·loss to its bin.
  mutating func update(_ batch: LossBatch) {
    for (entry, t) in batch.timesteps.enumerated() {
      let bin = bin(of: t)
      sums[bin] = decay * sums[bin] + (1 - decay) * batch.weight(of: entry) * Double(batch.losses[entry])
      shares[bin] = decay * shares[bin] + (1 - decay)
    }
    isWarm =
      isWarm
      || batch.probabilities.enumerated().allSatisfy { step, p in p == 0 || shares[bin(of: step)] > 0 }
  }

  /// The mean of each step's bin, but at least `floor` times the average over the bins. It is nil while all losses are 0,
  /// and until each bin with a step that can be drawn has had an entry.
  ///
  /// - Parameters:
  ///   - floor: the least mean, relative to the average.
  ///   - gap: what a bin without an entry counts as.
  /// - Throws: `ArgumentError` if a mean overflows.
  func stepMeans(floor: Double, gap: Gap = .zero) throws -> [Double]? {
    guard isWarm else { return nil }
    let means = zip(sums, shares).map { $1 > 0 ? $0 / $1 : 0 }
    let average = means.reduce(0) { $0 + $1 / Double(means.count) }
    guard average.isFinite else { throw ArgumentError("losses", "must have finite running means", got: average) }
    guard average >= .leastNormalMagnitude else { return nil }
    let floored = filled(means, gap).map { max($0, floor * average) }
    return (0..<steps).map { floored[bin(of: $0)] }
  }

  private func filled(_ means: [Double], _ gap: Gap) -> [Double] {
    let known = shares.indices.filter { shares[$0] > 0 }
    guard known.count < means.count, gap != .zero else { return means }
    if gap == .average {
      let average = known.reduce(0) { $0 + means[$1] / Double(known.count) }
      return means.indices.map { shares[$0] > 0 ? means[$0] : average }
    }
    var next = 0
    return means.indices.map { bin in
      while next + 1 < known.count, known[next + 1] - bin < abs(bin - known[next]) { next += 1 }
      return means[known[next]]
    }
  }

  /// Whether it is warm, then each bin's sum and share.
  var history: [Double] { [isWarm ? 1 : 0] + sums + shares }

  var historyCount: Int { 1 + 2 * sums.count }

  mutating func restore(_ history: inout HistoryReader) throws {
    isWarm = try history.nextInteger(in: 0...1) == 1
    for bin in sums.indices { sums[bin] = try history.next(in: 0...Double.greatestFiniteMagnitude) }
    for bin in shares.indices { shares[bin] = try history.next(in: 0...1) }
  }
}

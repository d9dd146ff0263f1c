import NoiseSchedules

/// The part of a method that learns from the losses of training. Most methods learn nothing.
public protocol Learner: Sendable {
  /// Learns from the losses of a batch.
  ///
  /// - Throws: `ArgumentError` if the losses are too large to learn from.
  mutating func update(_ batch: LossBatch) throws

  /// All that was learned, as plain numbers: `historyCount` of them.
  var history: [Double] { get }

  /// The length of `history`, which depends on the method and T alone; 0 for methods that learn nothing.
  var historyCount: Int { get }

  /// Restores what `history` returned.
  ///
  /// - Throws: `ArgumentError` unless `history` can return these numbers.
  mutating func restore(_ history: inout HistoryReader) throws
}

extension Learner {
  /// Nothing happens.
  public mutating func update(_ batch: LossBatch) {}
  /// Nothing was learned.
  public var history: [Double] { [] }
  /// Nothing was learned.
  public var historyCount: Int { 0 }
  /// Nothing is read.
  public mutating func restore(_ history: inout HistoryReader) throws {}
}

/// The checked losses of a batch, with what a learner may need of the sampler that drew it.
public struct LossBatch: Sendable {
  /// Timesteps in [0, T).
  public let timesteps: [Int]
  /// Their losses before any weight: finite, ≥ 0, one for each timestep.
  public let losses: [Float]
  /// The factor of each of the T steps' losses in the objective. A sampling gets w without its factor 1/(T·P); a factor
  /// of w gets the other factors.
  public var weights: [Double]
  /// P of each of the T steps.
  public internal(set) var probabilities: [Double]
  /// One more factor for each entry's loss; nil: 1. A noise level's weight varies within its bin.
  var scales: [Double]?

  /// Noise levels by their bins, whose losses were checked.
  init(bins: [Int], losses: [Float], scales: [Double], probabilities: [Double]) {
    timesteps = bins
    self.losses = losses
    weights = [Double](repeating: 1, count: probabilities.count)
    self.probabilities = probabilities
    self.scales = scales
  }

  /// Checks a batch.
  ///
  /// - Throws: `ArgumentError` that names the first entry out of range.
  init(
    timesteps: UnsafeBufferPointer<Int64>, losses: UnsafeBufferPointer<Float>, weights: [Double],
    probabilities: [Double]
  ) throws {
    let steps = probabilities.count
    for (i, t) in timesteps.enumerated() where t < 0 || t >= steps {
      throw ArgumentError("t[\(i)]", "must be in [0, \(steps))", got: t)
    }
    try checkLosses(losses)
    self.timesteps = timesteps.map { Int($0) }
    self.losses = Array(losses)
    self.weights = weights
    self.probabilities = probabilities
  }
}

/// Throws unless every loss is finite and ≥ 0.
func checkLosses(_ losses: UnsafeBufferPointer<Float>) throws {
  for (i, loss) in losses.enumerated() where !(loss >= 0 && loss.isFinite) {
    throw ArgumentError("losses[\(i)]", "must be finite and at least 0", got: loss)
  }
}

extension LossBatch {
  /// All factors of an entry's loss.
  func weight(of entry: Int) -> Double {
    let weight = weights[timesteps[entry]]
    return scales.map { weight * $0[entry] } ?? weight
  }

  /// The batch with other weights.
  func weighted(_ weights: [Double]) -> LossBatch {
    var batch = self
    batch.weights = weights
    return batch
  }

  /// The batch with its weights multiplied by more factors.
  func multiplied(by factors: [Double]) -> LossBatch { weighted(zip(weights, factors).map { $0 * $1 }) }
}

/// Reads a history number by number.
public struct HistoryReader {
  private let values: [Double]
  private var position = 0

  init(_ values: [Double]) { self.values = values }

  /// The next number.
  ///
  /// - Throws: `ArgumentError` unless there is one and it is in the range.
  public mutating func next(in range: ClosedRange<Double>) throws -> Double {
    guard position < values.count else {
      throw ArgumentError(
        "history", "must have more entries for this sampler",
        got: "\(values.count); restore it into the method that saved it")
    }
    let value = values[position]
    guard range.contains(value) else {
      throw ArgumentError(
        "history[\(position)]", "must be in [\(range.lowerBound), \(range.upperBound)]", got: value)
    }
    position += 1
    return value
  }

  /// The next number, if it is a whole one in the range.
  mutating func nextInteger(in range: ClosedRange<Int>) throws -> Int {
    let value = try next(in: Double(range.lowerBound)...Double(range.upperBound))
    guard let integer = Int(exactly: value) else {
      throw ArgumentError("history[\(position - 1)]", "must be a whole number", got: value)
    }
    return integer
  }

  /// Throws unless everything has been read.
  func finish() throws {
    guard position == values.count else {
      throw ArgumentError(
        "history", "must have \(position) entries for this sampler",
        got: "\(values.count); restore it into the method that saved it")
    }
  }
}

import NoiseSchedules

/// Importance sampling by the losses' second moment: P ∝ √mean(L²) of each step's last losses, mixed with a little of
/// the uniform density. It is uniform until every step that can be drawn has a full history.
///
/// Losses are weighted with 1/(T·P), so that the objective does not change. Source: Nichol and Dhariwal, "Improved
/// Denoising Diffusion Probabilistic Models", 2021, Section 3.3; openai/guided-diffusion, `LossSecondMomentResampler`.
public struct LossSecondMomentSampling: ChangingSampling {
  /// How many losses of each step count.
  public let history: Int
  /// The share of the uniform density, in [0, 1].
  public let uniformProb: Double

  /// The most losses that are kept, over all steps: half a GiB.
  public static let maximumEntries = 1 << 27

  /// Makes the sampling.
  ///
  /// - Throws: `ArgumentError` unless history ≥ 1 and uniformProb is in [0, 1].
  public init(history: Int = 10, uniformProb: Double = 0.001) throws {
    guard history >= 1, history <= Self.maximumEntries else {
      throw ArgumentError("history", "must be in [1, \(Self.maximumEntries)]", got: history)
    }
    guard uniformProb >= 0, uniformProb <= 1 else {
      throw ArgumentError("uniform_prob", "must be in [0, 1]", got: uniformProb)
    }
    self.history = history
    self.uniformProb = uniformProb
  }

  /// An empty history.
  ///
  /// - Throws: `ArgumentError` if history·T exceeds 2²⁷.
  public func state(for schedule: NoiseSchedule) throws -> any SamplingState {
    guard history <= Self.maximumEntries / schedule.steps else {
      throw ArgumentError(
        "history", "times the number of steps (\(schedule.steps)) must be at most \(Self.maximumEntries)", got: history)
    }
    return LossSecondMomentState(steps: schedule.steps, history: history, uniformProb: uniformProb)
  }
}

private struct LossSecondMomentState: SamplingState {
  let steps: Int
  let capacity: Int
  let uniformProb: Double
  /// A ring buffer of `capacity` losses for each step. Empty before the first loss.
  private var losses: [Float] = []
  /// How many losses each step has had, less multiples of `capacity` once its places are full.
  private var counts: [Int32] = []
  /// √mean(L²) of each step, 0 where the history is not full.
  private var moments: [Double] = []
  /// Whether every step that can be drawn has a full history.
  private var isWarm = false

  init(steps: Int, history: Int, uniformProb: Double) {
    self.steps = steps
    capacity = history
    self.uniformProb = uniformProb
  }

  let keepsObjective = true

  func probabilities(at step: UInt64) -> [Double] {
    let uniform = 1 / Double(steps)
    let sum = isWarm ? compensatedSum(moments) : 0
    guard sum >= .leastNormalMagnitude else { return [Double](repeating: uniform, count: steps) }
    return moments.map { (1 - uniformProb) * ($0 / sum) + uniformProb * uniform }
  }

  mutating func update(_ batch: LossBatch) {
    makeRoom()
    for (t, loss) in zip(batch.timesteps, batch.losses) {
      let count = Int(counts[t])
      losses[t * capacity + count % capacity] = loss
      counts[t] = Int32(count + 1 == 2 * capacity ? capacity : count + 1)
    }
    for t in batch.timesteps { moments[t] = moment(of: t) }
    isWarm = isWarm || zip(batch.probabilities, counts).allSatisfy { $0 == 0 || $1 >= capacity }
  }

  private mutating func makeRoom() {
    guard losses.isEmpty else { return }
    losses = [Float](repeating: 0, count: steps * capacity)
    counts = [Int32](repeating: 0, count: steps)
    moments = [Double](repeating: 0, count: steps)
  }

  private func moment(of t: Int) -> Double {
    guard counts[t] >= capacity else { return 0 }
    let squares = losses[(t * capacity)..<((t + 1) * capacity)].reduce(0.0) { $0 + Double($1) * Double($1) }
    return (squares / Double(capacity)).squareRoot()
  }

  /// Whether it is warm, then each step's count and losses.
  var history: [Double] {
    var values = [isWarm ? 1.0 : 0]
    guard !losses.isEmpty else { return values + [Double](repeating: 0, count: historyCount - 1) }
    values.reserveCapacity(historyCount)
    for t in 0..<steps {
      values.append(Double(counts[t]))
      values.append(contentsOf: losses[(t * capacity)..<((t + 1) * capacity)].lazy.map(Double.init))
    }
    return values
  }

  var historyCount: Int { 1 + steps * (capacity + 1) }

  mutating func restore(_ history: inout HistoryReader) throws {
    isWarm = try history.nextInteger(in: 0...1) == 1
    makeRoom()
    for t in 0..<steps {
      counts[t] = Int32(try history.nextInteger(in: 0...(2 * capacity - 1)))
      for place in 0..<capacity {
        losses[t * capacity + place] = Float(try history.next(in: 0...Double(Float.greatestFiniteMagnitude)))
      }
      moments[t] = moment(of: t)
    }
  }
}

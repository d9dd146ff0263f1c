import NoiseSchedules
import Synchronization

/// The tables of a row of calls.
enum TableRow {
  /// All calls have the same one; this allocates nothing.
  case one(DrawTable)
  /// The table of each call.
  case several([DrawTable], places: [Int])

  subscript(call: Int) -> DrawTable {
    switch self {
    case .one(let table): table
    case .several(let tables, let places): tables[places[call]]
    }
  }
}

/// The sampling and the weighting of one sampler over the course of training, and the table for the step at hand.
///
/// A sampler that neither follows the training step nor learns has a single table, and takes no lock.
final class SamplerCourse: Sendable {
  private struct State: Sendable {
    var sampling: any SamplingState
    var weighting: any WeightingState
    var table: DrawTable
  }

  private let schedule: NoiseSchedule
  private let pairing: DualPairing?
  private let normalize: Bool
  private let fixed: DrawTable?
  private let state: Mutex<State>
  /// The length of `history`; 0 if there is nothing to learn from losses.
  let historyCount: Int

  init(
    schedule: NoiseSchedule, sampling: any SamplingState, weighting: any WeightingState, pairing: DualPairing?,
    normalize: Bool
  ) throws {
    self.schedule = schedule
    self.pairing = pairing
    self.normalize = normalize
    historyCount = sampling.historyCount + weighting.historyCount
    let table = try Self.table(at: 0, sampling, weighting, schedule, pairing, normalize)
    let isFixed = historyCount == 0 && sampling.nextChange(after: 0) == nil
    fixed = isFixed ? table : nil
    state = Mutex(State(sampling: sampling, weighting: weighting, table: table))
    // An error that would come later in training is raised at the start.
    for step in Set(sampling.turns) {
      _ = try Self.table(at: step, sampling, weighting, schedule, pairing, normalize)
    }
  }

  /// The table for a training step.
  func table(at step: UInt64) throws -> DrawTable {
    if let fixed { return fixed }
    return try state.withLock { state in
      if !state.table.trainingSteps.contains(step) { state.table = try table(at: step, state) }
      return state.table
    }
  }

  /// The tables of a row of calls, each with its own training step.
  func tables(_ calls: Int, step: (_ call: Int) throws -> UInt64) throws -> TableRow {
    if let fixed { return .one(fixed) }
    var tables: [DrawTable] = []
    var places: [Int] = []
    for call in 0..<calls {
      let next = try table(at: step(call))
      if tables.last !== next { tables.append(next) }
      places.append(tables.count - 1)
    }
    return .several(tables, places: places)
  }

  /// Learns from the losses of a batch; on an error nothing has changed.
  func update(timesteps: UnsafeBufferPointer<Int64>, losses: UnsafeBufferPointer<Float>) throws {
    try state.withLock { state in
      let probabilities = state.table.probabilities
      let weights = try state.weighting.weights(under: probabilities)
      var next = state
      let batch = try LossBatch(
        timesteps: timesteps, losses: losses,
        weights: [Double](repeating: 1, count: probabilities.count), probabilities: probabilities)
      guard historyCount > 0 else {
        throw ArgumentError(
          "sampler", "must have a method that learns from losses",
          got: "one that learns nothing; do not update it, or use adaptive, loss_second_moment or uncertainty")
      }
      guard !batch.timesteps.isEmpty else { return }
      try next.weighting.update(batch)
      // The sampling sees the weights of the objective, as they were when the batch was drawn.
      let steps = Double(probabilities.count)
      try next.sampling.update(
        batch.weighted(
          state.weighting.dividesByProbability
            ? zip(weights, probabilities).map { $0 * steps * $1 } : weights))
      next.table = try table(at: state.table.trainingSteps.lowerBound, next)
      state = next
    }
  }

  /// All that was learned.
  var history: [Double] { state.withLock { $0.sampling.history + $0.weighting.history } }

  /// Restores a history; on an error nothing has changed.
  func restore(_ history: [Double]) throws { try state.withLock { $0 = try restored($0, history) } }

  /// Throws where `restore` would.
  func check(_ history: [Double]) throws { _ = try restored(state.withLock { $0 }, history) }

  private func restored(_ state: State, _ history: [Double]) throws -> State {
    var next = state
    var reader = HistoryReader(history)
    try next.sampling.restore(&reader)
    try next.weighting.restore(&reader)
    try reader.finish()
    do {
      next.table = try table(at: state.table.trainingSteps.lowerBound, next)
    } catch let error as ArgumentError {
      throw ArgumentError("history", "must be one that this sampler can have", got: "one that fails: \(error)")
    }
    return next
  }

  private func table(at step: UInt64, _ state: State) throws -> DrawTable {
    try Self.table(at: step, state.sampling, state.weighting, schedule, pairing, normalize)
  }

  private static func table(
    at step: UInt64, _ sampling: any SamplingState, _ weighting: any WeightingState, _ schedule: NoiseSchedule,
    _ pairing: DualPairing?, _ normalize: Bool
  ) throws -> DrawTable {
    let probabilities = try sampling.probabilities(at: step)
    return try DrawTable(
      trainingSteps: step...((sampling.nextChange(after: step) ?? .max) - 1), probabilities: probabilities,
      weights: weights(under: probabilities, sampling, weighting), schedule: schedule, pairing: pairing,
      normalize: normalize)
  }

  /// w, with the factor 1/(T·P) where the sampling keeps the objective and w does not have it.
  private static func weights(
    under probabilities: [Double], _ sampling: any SamplingState, _ weighting: any WeightingState
  ) throws -> [Double] {
    let weights = try weighting.weights(under: probabilities)
    guard sampling.keepsObjective, !weighting.dividesByProbability else { return weights }
    return zip(weights, importanceFactors(of: probabilities)).map { $0 * $1 }
  }
}

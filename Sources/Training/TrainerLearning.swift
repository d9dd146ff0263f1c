import ArgumentErrors

/// What a sampler can learn from a step: the timesteps and losses of its micro-batches, one after the other.
///
/// The arrays keep their memory, so that only the first steps allocate some.
struct StepLosses {
  private(set) var timesteps: [Int64] = []
  private(set) var losses: [Float] = []
  /// Whether the step was applied, and nothing has learned from it yet.
  var canBeLearned = false

  /// Begins another step.
  mutating func removeAll() {
    timesteps.removeAll(keepingCapacity: true)
    losses.removeAll(keepingCapacity: true)
    canBeLearned = false
  }

  mutating func append(_ batch: TrainingBatch, count: Int) {
    timesteps.append(contentsOf: UnsafeBufferPointer(start: batch.timesteps, count: count))
    losses.append(contentsOf: UnsafeBufferPointer(start: batch.losses, count: count))
  }
}

extension Trainer {
  /// Has the sampler learn from the step that `apply` has just ended. It does nothing if the sampler does not learn.
  ///
  /// The sampler sees only the micro-batches of this trainer. If several processes share each step, gather what
  /// `withLastLosses` gives on all of them, and pass it to `TimestepSampler.update`.
  ///
  /// - Throws: `ArgumentError` unless it is the first call after an `apply` that succeeded, before another `backward`.
  public func learn() throws {
    try exclusively {
      guard stepLosses.canBeLearned else {
        throw ArgumentError("learn", "must follow apply, once for each step", got: "another call")
      }
      if sampler.historyCount > 0 {
        try stepLosses.timesteps.withUnsafeBufferPointer { timesteps in
          try stepLosses.losses.withUnsafeBufferPointer { try sampler.update(timesteps: timesteps, losses: $0) }
        }
      }
      stepLosses.canBeLearned = false
    }
  }
}

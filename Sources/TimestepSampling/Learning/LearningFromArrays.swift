extension TimestepSampler {
  /// Learns from the losses of a batch, in arrays.
  ///
  /// - Parameters:
  ///   - timesteps: steps in [0, T), of the whole global batch.
  ///   - losses: one for each timestep, before any weight; finite and ≥ 0.
  /// - Throws: `ArgumentError` if the numbers are out of range or no method learns; then nothing has changed.
  public func update(timesteps: [Int64], losses: [Float]) throws {
    try timesteps.withUnsafeBufferPointer { timesteps in
      try losses.withUnsafeBufferPointer { try update(timesteps: timesteps, losses: $0) }
    }
  }
}

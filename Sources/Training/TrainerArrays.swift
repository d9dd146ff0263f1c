import ArgumentErrors

/// The trainer on arrays: their lengths are checked, and everything else where pointers arrive too.
extension Trainer {
  /// Forward and backward: adds the gradients of a micro-batch.
  ///
  /// - Returns: the objective: the mean over the samples of weight·mse + variational term, summed over the network's passes.
  ///   With a place it is their sum over the samples, divided by the entries of the global batch.
  /// - Throws: `ArgumentError` for an invalid batch, after which nothing has changed; `MemoryError`;
  ///   `TrainingError.notFinite`, after which the step starts again with its first micro-batch.
  public func backward(_ batch: Batch<some Collection<Float>>) throws -> Double {
    let count = try count(of: batch.images)
    for (name, array) in [("y", batch.labels), ("t", batch.timesteps)] { try check(array, name, has: count) }
    for (name, array) in [("noise", batch.noise), ("masked_noise", batch.secondNoise)] {
      try check(array, name, has: count, of: loss.elements)
    }
    try check(batch.weights, "weights", has: count)
    let keptCount = (batch.kept?.count ?? 0) / max(count, 1)
    try check(batch.kept, "kept", has: count, of: keptCount)
    return try lend(batch.images) { images in
      try lend(batch.labels) { labels in
        try lend(batch.timesteps) { timesteps in
          try lend(batch.noise) { noise in
            try lend(batch.secondNoise) { secondNoise in
              try lend(batch.kept) { kept in
                try lend(batch.weights) { weights in
                  var lent = UnsafeBatch(images: address(images), labels: labels?.baseAddress, count: count)
                  (lent.timesteps, lent.weights) = (timesteps?.baseAddress, weights?.baseAddress)
                  (lent.noise, lent.secondNoise) = (noise?.baseAddress, secondNoise?.baseAddress)
                  (lent.kept, lent.keptCount, lent.place) = (kept?.baseAddress, keptCount, batch.place)
                  return try backward(lent)
                }
              }
            }
          }
        }
      }
    }
  }

  /// The network alone.
  ///
  /// - Parameters:
  ///   - images: shape (count, channels, size, size).
  ///   - timesteps: one per sample, finite; fractions are allowed.
  ///   - labels: classes or the null label; nil for a network without labels.
  ///   - usesAverage: use the moving average of the parameters.
  /// - Returns: the network's output, shape (count, outputChannels, size, size).
  /// - Throws: `ArgumentError`, `MemoryError`, `TrainingError.busy`.
  public func forward(
    images: some Collection<Float>, timesteps: [Float], labels: [Int64]? = nil, usesAverage: Bool = false
  ) throws -> [Float] {
    let count = try count(of: images)
    try check(timesteps, "t", has: count)
    try check(labels, "y", has: count)
    return try array(of: count * network.image.outputChannels * network.image.size * network.image.size) { out in
      try lend(images) { images in
        try lend(labels) { labels in
          try forward(
            images: address(images), timesteps: timesteps, labels: labels?.baseAddress, count: count,
            usesAverage: usesAverage, out: out)
        }
      }
    }
  }

  /// Generates one image per seed, as the function on pointers does.
  ///
  /// - Parameters:
  ///   - labels: as many as seeds; nil for a network without labels.
  ///   - progress: is called after each step with the steps done and their total; returns whether to continue.
  /// - Returns: the images, shape (count, channels, size, size).
  /// - Throws: `ArgumentError`, `MemoryError`, `TrainingError.busy`, `TrainingError.cancelled`.
  public func generate(
    labels: [Int64]? = nil, seeds: [UInt64], options: GenerationOptions = GenerationOptions(),
    progress: (_ done: Int, _ total: Int) -> Bool = { _, _ in true }
  ) throws -> [Float] {
    try check(labels, "y", has: seeds.count)
    return try array(of: seeds.count * loss.elements) { out in
      try lend(labels) { labels in
        try seeds.withUnsafeBufferPointer {
          try generate(labels: labels?.baseAddress, seeds: $0, options: options, out: out, progress: progress)
        }
      }
    }
  }

  /// The timesteps and the unweighted mean squared errors of the last backward, one per sample: what a sampler that learns
  /// is updated with.
  ///
  /// - Throws: `ArgumentError` if there was none.
  public func lastLosses() throws -> (timesteps: [Int64], losses: [Float]) {
    try withLastLosses { (Array($0), Array($1)) }
  }

  private func count(of images: some Collection<Float>) throws -> Int {
    let (count, rest) = images.count.quotientAndRemainder(dividingBy: loss.elements)
    guard rest == 0 else {
      throw ArgumentError("x", "must have \(loss.elements) floats for each image", got: images.count)
    }
    return count
  }

  private func check(
    _ array: (some Collection)?, _ argument: String, has count: Int, of elements: Int = 1
  ) throws {
    guard let found = array?.count, found != count * elements else { return }
    throw ArgumentError(argument, "must have \(count * elements) entries for \(count) images", got: found)
  }

  /// Where a buffer starts. An empty one may have no address, but nothing is read from it.
  private func address(_ floats: UnsafeBufferPointer<Float>?) -> UnsafePointer<Float> {
    floats?.baseAddress ?? UnsafePointer(memory.parameters.base)
  }

  private func array(of count: Int, _ write: (UnsafeMutablePointer<Float>) throws -> Void) throws -> [Float] {
    try [Float](unsafeUninitializedCapacity: count) { buffer, written in
      // Nothing is written to an empty array.
      try write(buffer.baseAddress ?? memory.parameters.base)
      written = count
    }
  }
}

/// Gives the memory of an array or a buffer, or of a copy of any other collection.
private func lend<Values: Collection, Result>(
  _ values: Values?, _ body: (UnsafeBufferPointer<Values.Element>?) throws -> Result
) throws -> Result {
  guard let values else { return try body(nil) }
  return try values.withContiguousStorageIfAvailable(body) ?? Array(values).withUnsafeBufferPointer(body)
}

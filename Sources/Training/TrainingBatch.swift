/// The current batch: the inputs of a training program's phases, and the losses that they compute.
///
/// Phases refer to this object, so they are made only once. Pointers are valid only during a run.
final class TrainingBatch: @unchecked Sendable {
  /// x₀, and the ε of each pass if the caller gives it.
  var images: UnsafePointer<Float>?
  var givenNoise: UnsafePointer<Float>?
  var givenSecondNoise: UnsafePointer<Float>?
  /// Draws the masks; nil if there are none, or if the caller gives them.
  var masks: TokenMasks?
  /// The training step, and the place of the first entry in the global batch.
  var step: UInt64 = 0
  var firstEntry = 0
  /// One over the samples of all micro-batches of a step.
  var scale = 0.0

  let timesteps: UnsafeMutablePointer<Int64>
  /// The weights of the squared errors.
  let weights: UnsafeMutablePointer<Float>
  /// The mean squared errors and the variational terms, summed over the passes.
  let losses: UnsafeMutablePointer<Float>
  let variational: UnsafeMutablePointer<Float>
  let capacity: Int

  init(capacity: Int) {
    self.capacity = capacity
    timesteps = .allocate(capacity: capacity)
    timesteps.initialize(repeating: 0, count: capacity)
    (weights, losses, variational) = (
      .allocate(capacity: capacity), .allocate(capacity: capacity), .allocate(capacity: capacity)
    )
    for floats in [weights, losses, variational] { floats.initialize(repeating: 0, count: capacity) }
  }

  deinit {
    timesteps.deallocate()
    weights.deallocate()
    losses.deallocate()
    variational.deallocate()
  }

  /// The ε of a pass, if the caller gives it.
  func givenNoise(of pass: Int) -> UnsafePointer<Float>? { pass == 0 ? givenNoise : givenSecondNoise }

  /// The sum over samples of weight·mse + variational.
  func sum(_ count: Int) -> Double {
    var total = 0.0
    for i in 0..<count { total += Double(weights[i]) * Double(losses[i]) + Double(variational[i]) }
    return total
  }
}

import ArgumentErrors
import Kernels

extension Trainer {
  /// Sets the precision of the steps to come.
  ///
  /// - Throws: `ArgumentError` if this processor does not have it, or between the micro-batches of a step.
  public func setPrecision(_ value: Precision) throws {
    try exclusively {
      try value.check()
      guard value != options.precision else { return }
      guard microBatches == 0 else {
        throw ArgumentError(
          "precision", "must be set between steps", got: "a call after \(microBatches) micro-batches of one")
      }
      options.precision = value
      // Their weights are packed for the other precision.
      (training, inference, lastCount) = (nil, nil, nil)
    }
  }
}

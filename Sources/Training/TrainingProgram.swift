import Kernels
import Networks

/// One training step up to the gradients, for batches up to a given size.
final class TrainingProgram {
  let batch: TrainingBatch
  let samples: Samples
  let passes: [TrainingPass]
  private var program: Program

  /// Records the network's passes, and lays out the memory that they share.
  init(
    _ network: any DiffusionNetwork, capacity: Int, loss: DiffusionLoss, parameters: ParameterMemory,
    fixed: [Matrix], seed: UInt64, threads: Int, precision: Precision,
    reserve: (_ count: Int) throws -> UnsafeMutablePointer<Float>
  ) throws {
    let (batch, samples) = (TrainingBatch(capacity: capacity), Samples(maximum: capacity))
    passes = try network.passes.enumerated().map { number, pass in
      try TrainingPass(
        network, pass, number: number, samples: samples, batch, loss, seed: seed, parameters: parameters, fixed: fixed,
        threads: threads, precision: precision)
    }
    (self.batch, self.samples) = (batch, samples)
    program = Program(threads: threads)
    let base = try reserve(passes.map(\.activationCount).max() ?? 0)
    var begun: Set<Int> = []
    for pass in passes { pass.append(to: &program, at: base, begun: &begun) }
  }

  /// Runs the step for the contents of `batch`.
  func run(_ pool: ThreadPool) { pool.run(program) }

  /// The first operation of the last run whose output is not finite; nil if all are finite.
  func firstNonFiniteOperation(_ pool: ThreadPool) -> String? {
    for pass in passes {
      if let name = pass.firstNonFiniteOperation(pool) { return name }
    }
    return nil
  }
}

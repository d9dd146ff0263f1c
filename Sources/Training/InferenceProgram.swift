import Kernels
import Networks

/// The network alone, for batches up to a given size.
final class InferenceProgram {
  let samples: Samples
  let images: Matrix
  let timesteps: UnsafeMutablePointer<Float>
  let labels: Labels?
  let output: Matrix
  private let plan: Plan
  private var program: Program

  init(
    _ network: any DiffusionNetwork, capacity: Int, parameters: ParameterMemory, fixed: [Matrix], threads: Int,
    precision: Precision,
    reserve: (_ count: Int) throws -> UnsafeMutablePointer<Float>
  ) throws {
    samples = Samples(maximum: capacity)
    let tape = Recorder(samples: samples, threads: threads, isTraining: false, precision: precision)
    let pass = network.record(tape, fixed: fixed, order: nil)
    plan = try Plan(tape, output: pass.output, parameters: parameters)
    plan.place(at: try reserve(plan.activationCount))
    program = Program(threads: threads)
    plan.appendForward(to: &program)
    images = plan.value(of: pass.inputs.images)
    timesteps = plan.value(of: pass.inputs.timesteps).base
    labels = pass.inputs.labels
    output = plan.value(of: pass.output)
  }

  /// Runs the network on the contents of `images`, `timesteps` and `labels`.
  func run(_ pool: ThreadPool) { pool.run(program) }
}

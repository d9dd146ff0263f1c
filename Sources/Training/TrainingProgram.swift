import Kernels
import Networks
import TimestepSampling

/// One training step up to the gradients, for batches of some size or less: noise, forward, loss, back.
final class TrainingProgram {
  let batch: TrainingBatch
  let samples: Samples
  let inputs: NetworkInputs
  private let plan: Plan
  private var program: Program

  /// Records the network, and lays out its memory.
  init(
    _ network: DiT, capacity: Int, loss: DiffusionLoss, parameters: ParameterMemory, positions: Matrix, seed: UInt64,
    threads: Int, reserve: (_ count: Int) throws -> UnsafeMutablePointer<Float>
  ) throws {
    let samples = Samples(maximum: capacity)
    let tape = Recorder(samples: samples, threads: threads, isTraining: true)
    let noise = tape.input(Rows(samples, length: 1), columns: loss.elements)
    let (inputs, output) = network.record(tape, positions: positions)
    let plan = try Plan(tape, output: output, parameters: parameters, reserve: reserve)
    let batch = TrainingBatch(capacity: capacity)
    (self.batch, self.samples, self.inputs, self.plan) = (batch, samples, inputs, plan)

    program = Program(threads: threads)
    let (noiseRows, images, times) = (
      plan.value(of: noise), plan.value(of: inputs.images), plan.value(of: inputs.timesteps)
    )
    program.rows(noise.rows) { rows in
      guard let x = batch.images else { return }
      let source = Noise(seed: seed, purpose: .noise, step: batch.step)
      for r in rows {
        if let given = batch.givenNoise {
          noiseRows.row(r).update(from: given + r * loss.elements, count: loss.elements)
        } else {
          source.fill(noiseRows.row(r), entry: batch.firstEntry + r, elements: loss.elements)
        }
        let t = Int(batch.timesteps[r])
        loss.addNoise(x + r * loss.elements, noiseRows.row(r), t: t, into: images.row(r))
        times.row(r)[0] = Float(t)
      }
    }
    plan.appendForward(to: &program)
    let (prediction, gradient) = (plan.value(of: output), plan.outputGradient)
    program.rows(output.rows) { rows in
      guard let x = batch.images else { return }
      for r in rows {
        let (mse, variational) = loss.evaluate(
          x + r * loss.elements, noiseRows.row(r), t: Int(batch.timesteps[r]), weight: Double(batch.weights[r]),
          scale: batch.scale, input: images.row(r), output: prediction.row(r), gradient: gradient.row(r))
        batch.losses[r] = Float(mse)
        batch.variational[r] = Float(variational)
      }
    }
    plan.appendBackward(to: &program)
  }

  /// Runs the step for the batch that stands in `batch`.
  func run(_ pool: ThreadPool) { pool.run(program) }

  /// The operation of the last run whose output is the first that is not finite; nil if all are.
  func firstNonFiniteOperation() -> String? { plan.firstNonFiniteOperation() }
}

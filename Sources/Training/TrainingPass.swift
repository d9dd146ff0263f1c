import Kernels
import Networks
import TimestepSampling

/// One pass through the network and back: noise, forward, loss, backward.
///
/// The passes of a step have the same timesteps and weights, but noise, dropped labels and hidden tokens of their own. They
/// share memory, one after the other.
final class TrainingPass {
  /// What is drawn for it, and what it hides.
  let description: NetworkPass
  /// Its place among the passes of a step.
  private let number: Int
  let labels: Labels?
  /// Which tokens are hidden; nil in a pass that hides none.
  let order: TokenOrder?
  private let plan: Plan
  private let noise: Tensor
  private let inputs: NetworkInputs
  private let output: Tensor
  private let batch: TrainingBatch
  private let loss: DiffusionLoss
  /// The seed of its noise.
  private let seed: UInt64

  /// Records the network, and lays out memory.
  init(
    _ network: any DiffusionNetwork, _ description: NetworkPass, number: Int, samples: Samples, _ batch: TrainingBatch,
    _ loss: DiffusionLoss, seed: UInt64, parameters: ParameterMemory, fixed: [Matrix], threads: Int,
    precision: Precision
  ) throws {
    (self.description, self.number) = (description, number)
    (self.batch, self.loss, self.seed) = (batch, loss, seed)
    let tape = Recorder(samples: samples, threads: threads, isTraining: true, precision: precision)
    noise = tape.input(Rows(samples, length: 1), columns: loss.elements)
    order = try description.hidden.map { try tape.tokenOrder(length: $0.tokens) }
    let pass = network.record(tape, fixed: fixed, order: order)
    (inputs, output) = (pass.inputs, pass.output)
    plan = try Plan(tape, output: output, parameters: parameters)
    labels = inputs.labels
  }

  /// The number of floats that it needs.
  var activationCount: Int { plan.activationCount }

  /// Binds its memory, and appends itself to the program of a step.
  ///
  /// - Parameter begun: the offsets of the parameters whose gradients earlier passes write; this pass adds its own.
  func append(to program: inout Program, at base: UnsafeMutablePointer<Float>, begun: inout Set<Int>) {
    plan.place(at: base)
    // The memory may be shared with another pass.
    program.cut()
    appendPreparation(to: &program)
    plan.appendForward(to: &program)
    appendLoss(to: &program)
    begun.formUnion(plan.appendBackward(to: &program, begun: begun))
  }

  /// Appends what writes the noise and the network's inputs.
  private func appendPreparation(to program: inout Program) {
    let (noise, images, times) = (
      plan.value(of: noise), plan.value(of: inputs.images), plan.value(of: inputs.timesteps)
    )
    program.rows(self.noise.rows) { [batch, loss, seed, description, number, order, elements = loss.elements] rows in
      guard let x = batch.images else { return }
      let source = Noise(seed: seed, purpose: description.noise, step: batch.step)
      let given = batch.givenNoise(of: number)
      for r in rows {
        if let given {
          noise.row(r).update(from: given + r * elements, count: elements)
        } else {
          source.fill(noise.row(r), entry: batch.firstEntry + r, elements: elements)
        }
        let t = Int(batch.timesteps[r])
        loss.addNoise(x + r * elements, noise.row(r), t: t, into: images.row(r))
        times.row(r)[0] = Float(t)
        if let order, let masks = batch.masks {
          masks.fill(order.base + r * order.length, entry: batch.firstEntry + r)
        }
      }
    }
  }

  private func appendLoss(to program: inout Program) {
    let (noise, images) = (plan.value(of: noise), plan.value(of: inputs.images))
    let (prediction, gradient) = (plan.value(of: output), plan.outputGradient)
    program.rows(output.rows) { [batch, loss, isFirst = number == 0, elements = loss.elements] rows in
      guard let x = batch.images else { return }
      for r in rows {
        let (mse, variational) = loss.evaluate(
          x + r * elements, noise.row(r), t: Int(batch.timesteps[r]), weight: Double(batch.weights[r]),
          scale: batch.scale, input: images.row(r), output: prediction.row(r), gradient: gradient.row(r))
        batch.losses[r] = Float(mse) + (isFirst ? 0 : batch.losses[r])
        batch.variational[r] = Float(variational) + (isFirst ? 0 : batch.variational[r])
      }
    }
  }

  /// Repeats the forward pass of the last run, and names the first operation whose output is not finite; nil if all are
  /// finite.
  func firstNonFiniteOperation(_ pool: ThreadPool) -> String? {
    var preparation = Program(threads: pool.threads)
    appendPreparation(to: &preparation)
    pool.run(preparation)
    return plan.firstNonFiniteOperation()
  }
}

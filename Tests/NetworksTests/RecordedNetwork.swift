import Kernels
import Oracles

@testable import Networks

/// A twin network with its plan, program and memory, ready to be run forward and back.
final class RecordedNetwork {
  let network: TwinNetwork
  let plan: Plan
  let accumulation = Accumulation()
  private let output: TwinNetwork.Value
  private let pool: ThreadPool
  private var program: Program
  private let parameters: UnsafeMutableBufferPointer<Float>
  private let gradients: UnsafeMutableBufferPointer<Float>
  private let activations: UnsafeMutableBufferPointer<Float>
  private let weights: Weights

  /// What the phase between the two ways reads, and the output that it finds: on the way back its memory is used again.
  private final class Weights: @unchecked Sendable {
    var table = Table(0, 0, [])
    let output: UnsafeMutableBufferPointer<Float>

    init(count: Int) { output = .allocate(capacity: count) }

    deinit { output.deallocate() }
  }

  /// Records the way back too.
  init(_ network: TwinNetwork, output: TwinNetwork.Value) throws {
    let count = network.parameters.count
    (parameters, gradients) = (.allocate(capacity: count), .allocate(capacity: count))
    for (i, value) in network.parameterValues.enumerated() { parameters[i] = Float(value) }
    gradients.initialize(repeating: .nan)
    plan = try Plan(
      network.tape, output: output.tensor,
      parameters: ParameterMemory(
        parameters: parameters.baseAddress!, gradients: gradients.baseAddress!, accumulation: accumulation))
    activations = .allocate(capacity: plan.activationCount)
    plan.place(at: activations.baseAddress!)
    (self.network, self.output) = (network, output)
    pool = try ThreadPool(threads: network.tape.threads)
    program = Program(threads: network.tape.threads)
    plan.appendForward(to: &program)
    let (value, target) = (plan.value(of: output.tensor), plan.outputGradient)
    let weights = Weights(count: output.tensor.rows.maximum * target.columns)
    self.weights = weights
    program.rows(output.tensor.rows) { rows in
      for r in rows {
        for c in 0..<target.columns {
          weights.output[r * target.columns + c] = value.row(r)[c]
          target.row(r)[c] = Float(weights.table[r, c])
        }
      }
    }
    plan.appendBackward(to: &program)
  }

  deinit {
    parameters.deallocate()
    gradients.deallocate()
    activations.deallocate()
  }

  /// Runs both ways. All memory but the inputs' holds NaN before, so that nothing is read that was not written.
  func run(weights table: Table) {
    activations.initialize(repeating: .nan)
    network.writeInputs(to: plan)
    weights.table = table
    pool.run(program)
  }

  /// Replaces a float of the parameters.
  func set(_ parameter: Parameter, _ index: Int, to value: Float) { parameters[parameter.offset + index] = value }

  /// The output of the last run.
  var outputTable: Table {
    Table(output.tensor.rows.count, output.tensor.columns) { Double(weights.output[$0 * output.tensor.columns + $1]) }
  }

  /// A parameter's gradient after the last run.
  func gradient(of parameter: Parameter) -> Table { parameter.table(gradients.map { Double($0) }) }

  /// All gradients, without the gaps between them.
  var allGradients: [Table] { network.parameters.parameters.map(gradient) }
}

import Kernels

/// y = second(GELU(first(x))).
struct MLPOperation: Operation {
  let x: Tensor
  let first: Linear
  let second: Linear
  /// The input of GELU, and then its output, in the products' precision.
  let hidden: Tensor
  /// Has no value, but a gradient: that of GELU's input.
  let hiddenGradient: Tensor
  let output: Tensor

  var inputs: [Tensor] { [x] }
  var notes: [Tensor] { [hidden] }
  var noteGradients: [Tensor] { [hiddenGradient] }
  var packedWeights: [Parameter] { x.rows.areTokens ? [first.weight, second.weight] : [] }
  var readsRounded: [Tensor] { [x] }
  var writesRounded: Bool { true }
  var readsRoundedGradient: Bool { true }
  var scratch: Int { mlpScratch(hidden: first.outputs, outputs: second.outputs, hidden.precision) }

  func name(in scope: Int) -> String {
    String(first.weight.name.split(separator: ".").dropLast(2).joined(separator: "."))
  }

  func forward(_ program: inout Program, _ memory: Memory) {
    let (rows, x, u, y) = (output.rows, memory[x], memory[hidden], memory[output])
    let (first, second) = (memory[first, rows], memory[second, rows])
    program.rows(rows) { rows, thread in
      mlpForward(x, first, second, hidden: u, into: y, rows: rows, scratch: memory.scratch(thread))
    }
  }

  func backward(_ program: inout Program, _ memory: Memory) {
    let (input, u, du, dy) = (
      memory[x], memory[hidden], memory.gradient(ofOutput: hiddenGradient), memory.gradient(ofOutput: output)
    )
    let (dx, layers) = (memory.gradient(of: x), (memory[first, x.rows], memory[second, x.rows]))
    program.rows(x.rows) { rows, thread in
      mlpInputBackward(
        layers.0, layers.1, hidden: u, dHidden: du, dy: dy, dx: dx, rows: rows, scratch: memory.scratch(thread))
    }
    second.deferGradients(&program, memory, x: u, dy: dy, rows: x.rows)
    first.deferGradients(&program, memory, x: input, dy: du, rows: x.rows)
  }
}

extension Recorder {
  /// The MLP of a transformer block: `first`, GELU with tanh, `second`.
  public func mlp(_ x: Tensor, _ first: Linear, _ second: Linear) -> Tensor {
    let (hidden, gradient) = (note(x.rows, columns: first.outputs), note(x.rows, columns: first.outputs))
    (hidden.precision, gradient.gradientPrecision) = (precision(of: x.rows), precision(of: x.rows))
    return record(
      MLPOperation(
        x: x, first: first, second: second, hidden: hidden, hiddenGradient: gradient,
        output: output(x.rows, columns: second.outputs, of: [x], hasParameters: true)))
  }
}

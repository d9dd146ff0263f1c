import Kernels

/// y = x·Wᵀ + b.
struct LinearOperation: Operation {
  let x: Tensor
  let layer: Linear
  let output: Tensor

  var inputs: [Tensor] { [x] }

  func name(in scope: Int) -> String { String(layer.weight.name.dropLast(".weight".count)) }

  func forward(_ program: inout Program, _ memory: Memory) {
    let (x, y, weight, bias) = (memory[x], memory[output], memory[layer.weight], memory[layer.bias].base)
    divide(&program, columns: layer.outputs) { rows, outputs in
      linearForward(x, weight: weight, bias: bias, into: y, rows: rows, outputs: outputs)
    }
  }

  func backward(_ program: inout Program, _ memory: Memory) {
    let (input, dy, weight) = (memory[x], memory.gradient(ofOutput: output), memory[layer.weight])
    if let dx = memory.gradient(of: x) {
      divide(&program, columns: layer.inputs) { rows, inputs in
        linearInputBackward(dy: dy, weight: weight, dx: dx, rows: rows, inputs: inputs)
      }
    }
    layer.deferGradients(&program, memory, x: input, dy: dy, rows: x.rows)
  }

  /// Divides rows of tokens; those of samples are so few that each thread would read all weights, so columns are
  /// divided there.
  private func divide(
    _ program: inout Program, columns: Int, _ run: @escaping (_ rows: Range<Int>, _ columns: Range<Int>) -> Void
  ) {
    let (rows, threads) = (x.rows, program.threads)
    if rows.maximumLength == 1 {
      program.tasks(threads) { run(0..<rows.count, part($0, of: threads, count: columns, unit: 16)) }
    } else {
      program.rows(rows) { run($0, 0..<columns) }
    }
  }
}

extension Linear {
  /// Defers the gradients of the parameters, for inputs and gradients of outputs that stay until then.
  func deferGradients(_ program: inout Program, _ memory: Memory, x: Matrix, dy: Matrix, rows: Rows) {
    let (dWeight, dBias) = (memory.gradient(of: weight, &program), memory.gradient(of: bias, &program))
    let (inputs, outputs, tasks) = (inputs, outputs, memory.threads)
    program.deferTasks(tasks) { task in
      func part(of count: Int) -> Range<Int> { Kernels.part(task, of: tasks, count: count, unit: 16) }
      // The longer side is divided, so that products are not narrow.
      let isTall = outputs >= inputs
      linearWeightBackward(
        x, dy: dy, dWeight: dWeight(), rows: rows.count, outputs: isTall ? part(of: outputs) : 0..<outputs,
        inputs: isTall ? 0..<inputs : part(of: inputs))
      linearBiasBackward(dy: dy, dBias: dBias(), rows: rows.count, outputs: part(of: outputs))
    }
  }
}

extension Recorder {
  /// `layer` applied to each row of x.
  public func linear(_ x: Tensor, _ layer: Linear) -> Tensor {
    record(
      LinearOperation(
        x: x, layer: layer, output: output(x.rows, columns: layer.outputs, of: [x], hasParameters: true)))
  }
}

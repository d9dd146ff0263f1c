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
    let (dWeight, dBias) = (memory.gradient(of: layer.weight), memory.gradient(of: layer.bias))
    let (rows, outputs, threads) = (x.rows, layer.outputs, memory.threads)
    // Two for each thread, so that one that falls behind is helped, but not at the cost of narrow products.
    let tasks = outputs >= 1024 ? 2 * threads : threads
    program.tasks(tasks) { task in
      linearParametersBackward(
        input, dy: dy, dWeight: dWeight(), dBias: dBias().matrix.base, rows: rows.count,
        outputs: part(task, of: tasks, count: outputs, unit: 16))
    }
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

extension Recorder {
  /// `layer` applied to each row of x.
  public func linear(_ x: Tensor, _ layer: Linear) -> Tensor {
    record(
      LinearOperation(
        x: x, layer: layer, output: output(x.rows, columns: layer.outputs, of: [x], hasParameters: true)))
  }
}

import Kernels

/// y = x·Wᵀ + b.
struct LinearOperation: Operation {
  let x: Tensor
  let layer: Linear
  let output: Tensor

  var inputs: [Tensor] { [x] }

  func name(in scope: Int) -> String { String(layer.weight.name.dropLast(".weight".count)) }

  /// Rows of samples are too few to be worth packing the weight.
  var packedWeights: [Parameter] { x.rows.areTokens ? [layer.weight] : [] }

  var readsRounded: [Tensor] { [x] }
  var writesRounded: Bool { true }
  var writesRoundedGradients: [Tensor] { [x] }
  var readsRoundedGradient: Bool { true }
  var scratch: Int {
    max(
      linearScratch(outputs: output.columns, output.precision),
      linearScratch(outputs: x.columns, x.root.gradientPrecision))
  }

  func forward(_ program: inout Program, _ memory: Memory) {
    let (x, y, layer) = (memory[x], memory[output], memory[layer, x.rows])
    divide(&program, memory, columns: y.columns) {
      linearForward(x, layer, into: y, rows: $0, outputs: $1, scratch: $2)
    }
  }

  func backward(_ program: inout Program, _ memory: Memory) {
    let (input, dy, parameters) = (memory[x], memory.gradient(ofOutput: output), memory[layer, x.rows])
    if let dx = memory.gradient(of: x) {
      divide(&program, memory, columns: input.columns) {
        linearInputBackward(dy: dy, parameters, dx: dx, rows: $0, inputs: $1, scratch: $2)
      }
    }
    layer.deferGradients(&program, memory, x: input, dy: dy, rows: x.rows)
  }

  /// Divides rows of tokens. Rows of samples are so few that each thread would read all weights; there columns are divided
  /// instead.
  private func divide(
    _ program: inout Program, _ memory: Memory, columns: Int,
    _ run: @escaping (_ rows: Range<Int>, _ columns: Range<Int>, _ scratch: UnsafeMutablePointer<Float>?) -> Void
  ) {
    let (rows, threads) = (x.rows, program.threads)
    if !rows.areTokens {
      program.tasks(threads) { run(0..<rows.count, part($0, of: threads, count: columns, unit: 16), nil) }
    } else {
      program.rows(rows) { run($0, 0..<columns, memory.scratch($1)) }
    }
  }
}

extension Linear {
  /// Defers the gradients of the parameters. Inputs and gradients of outputs must stay valid until then.
  func deferGradients(_ program: inout Program, _ memory: Memory, x: Matrix, dy: Matrix, rows: Rows) {
    let (dWeight, dBias) = (memory.gradient(of: weight, &program), memory.gradient(of: bias, &program))
    let (inputs, outputs, tasks, precision) = (inputs, outputs, memory.threads, memory.precision(of: rows))
    program.deferTasks(tasks) { task in
      func part(of count: Int) -> Range<Int> { Kernels.part(task, of: tasks, count: count, unit: 16) }
      // The longer side is divided, to avoid narrow products.
      let isTall = outputs >= inputs
      linearWeightBackward(
        x, dy: dy, dWeight: dWeight(), rows: rows.count, outputs: isTall ? part(of: outputs) : 0..<outputs,
        inputs: isTall ? 0..<inputs : part(of: inputs), precision)
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

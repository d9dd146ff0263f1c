import Kernels

/// x + gate·h, with one gate per sample.
struct GatedSumOperation: Operation {
  let x: Tensor
  let gate: Tensor
  let h: Tensor
  let output: Tensor

  var inputs: [Tensor] { [x, gate, h] }
  var neededByBackward: [Tensor] { [gate, h] }
  var passesGradientTo: Tensor? { x }
  // h is a branch of a block; x, to which it is added, and their sum are float32.
  var readsRounded: [Tensor] { x == h || gate == h ? [] : [h] }
  var writesRoundedGradients: [Tensor] { [h] }

  func forward(_ program: inout Program, _ memory: Memory) {
    let (x, gate, h, y, rows) = (memory[x], memory[gate], memory[h], memory[output], output.rows)
    program.rows(rows) { gatedSumForward(x, gate: gate, h, into: y, length: rows.length, rows: $0) }
  }

  func backward(_ program: inout Program, _ memory: Memory) {
    let (dy, rows) = (memory.gradient(ofOutput: output), output.rows)
    appendPassing(dy, to: x, &program, memory)
    let (dh, dGate) = (memory.gradient(of: h), memory.gradient(of: gate))
    guard dh != nil || dGate != nil else { return }
    let (gate, h) = (memory[gate], memory[h])
    program.samples(of: rows) {
      gatedSumBackward(gate: gate, h, dy: dy, dh: dh, dGate: dGate, length: rows.length, samples: $0)
    }
  }
}

/// a + b.
struct SumOperation: Operation {
  let a: Tensor
  let b: Tensor
  let output: Tensor

  var inputs: [Tensor] { [a, b] }
  var neededByBackward: [Tensor] { [] }
  var passesGradientTo: Tensor? { a }

  func forward(_ program: inout Program, _ memory: Memory) {
    let (a, b, y) = (memory[a], memory[b], memory[output])
    program.rows(output.rows) { sumForward(a, b, into: y, rows: $0) }
  }

  func backward(_ program: inout Program, _ memory: Memory) {
    let dy = memory.gradient(ofOutput: output)
    if let db = memory.gradient(of: b) { program.rows(output.rows) { sumBackward(dy: dy, dx: db, rows: $0) } }
    appendPassing(dy, to: a, &program, memory)
  }
}

/// x + a fixed table whose rows are those of a sample.
struct TableSumOperation: Operation {
  let x: Tensor
  let table: Matrix
  let output: Tensor

  var inputs: [Tensor] { [x] }
  var neededByBackward: [Tensor] { [] }
  var passesGradientTo: Tensor? { x }

  func forward(_ program: inout Program, _ memory: Memory) {
    let (x, y, rows) = (memory[x], memory[output], output.rows)
    program.rows(rows) { [table] in tableSumForward(x, table: table, into: y, length: rows.length, rows: $0) }
  }

  func backward(_ program: inout Program, _ memory: Memory) {
    appendPassing(memory.gradient(ofOutput: output), to: x, &program, memory)
  }
}

/// x + a trained table whose rows are those of a sample.
struct TrainedTableSumOperation: Operation {
  let x: Tensor
  let table: Parameter
  let output: Tensor

  var inputs: [Tensor] { [x] }
  var neededByBackward: [Tensor] { [] }
  var passesGradientTo: Tensor? { x }

  func forward(_ program: inout Program, _ memory: Memory) {
    let (x, y, rows) = (memory[x], memory[output], output.rows)
    let table = Matrix(memory[table].base, columns: x.columns)
    program.rows(rows) { tableSumForward(x, table: table, into: y, length: rows.length, rows: $0) }
  }

  func backward(_ program: inout Program, _ memory: Memory) {
    let (dy, rows, tasks) = (memory.gradient(ofOutput: output), output.rows, memory.threads)
    appendPassing(dy, to: x, &program, memory)
    let dTable = memory.gradient(of: table, &program)
    program.deferTasks(tasks) { task in
      let target = dTable()
      tableSumBackward(
        dy: dy,
        dTable: GradientTarget(Matrix(target.matrix.base, columns: dy.columns), accumulates: target.accumulates),
        length: rows.length, samples: rows.samples.count, rows: part(task, of: tasks, count: rows.length))
    }
  }
}

/// Two tensors side by side.
struct ConcatenationOperation: Operation {
  let a: Tensor
  let b: Tensor
  let output: Tensor

  var inputs: [Tensor] { [a, b] }
  var neededByBackward: [Tensor] { [] }

  func forward(_ program: inout Program, _ memory: Memory) {
    let (a, b, y) = (memory[a], memory[b], memory[output])
    program.rows(output.rows) { concatenateForward(a, b, into: y, rows: $0) }
  }

  func backward(_ program: inout Program, _ memory: Memory) {
    let dy = memory.gradient(ofOutput: output)
    for (tensor, columns) in [(a, 0..<a.columns), (b, a.columns..<output.columns)] {
      guard let dx = memory.gradient(of: tensor) else { continue }
      program.rows(output.rows) { sumBackward(dy: dy.columns(columns), dx: dx, rows: $0) }
    }
  }
}

extension Operation {
  /// Adds the output's gradient to an input's, unless they share it.
  fileprivate func appendPassing(_ dy: Matrix, to x: Tensor, _ program: inout Program, _ memory: Memory) {
    guard memory.passed != x, let dx = memory.gradient(of: x) else { return }
    program.rows(output.rows) { sumBackward(dy: dy, dx: dx, rows: $0) }
  }
}

extension Recorder {
  /// x + gate·h; gate has one row per sample.
  public func gatedSum(_ x: Tensor, gate: Tensor, _ h: Tensor) -> Tensor {
    record(
      GatedSumOperation(x: x, gate: gate, h: h, output: output(x.rows, columns: x.columns, of: [x, gate, h])))
  }

  /// a + b.
  public func sum(_ a: Tensor, _ b: Tensor) -> Tensor {
    record(SumOperation(a: a, b: b, output: output(a.rows, columns: a.columns, of: [a, b])))
  }

  /// x + table, a fixed table with as many rows as a sample.
  public func sum(_ x: Tensor, table: Matrix) -> Tensor {
    record(TableSumOperation(x: x, table: table, output: output(x.rows, columns: x.columns, of: [x])))
  }

  /// x + table, a trained table with as many rows as a sample.
  public func sum(_ x: Tensor, table: Parameter) -> Tensor {
    record(
      TrainedTableSumOperation(
        x: x, table: table, output: output(x.rows, columns: x.columns, of: [x], hasParameters: true)))
  }

  /// a and b side by side, as PyTorch's `cat([a, b], dim=-1)`.
  public func concatenation(_ a: Tensor, _ b: Tensor) -> Tensor {
    record(ConcatenationOperation(a: a, b: b, output: output(a.rows, columns: a.columns + b.columns, of: [a, b])))
  }
}

import Kernels

/// GELU in the form with tanh.
struct GELUOperation: Operation {
  let x: Tensor
  let output: Tensor

  var inputs: [Tensor] { [x] }

  func forward(_ program: inout Program, _ memory: Memory) {
    let (x, y) = (memory[x], memory[output])
    program.rows(output.rows) { geluForward(x, into: y, rows: $0) }
  }

  func backward(_ program: inout Program, _ memory: Memory) {
    guard let dx = memory.gradient(of: x) else { return }
    let (x, dy) = (memory[x], memory.gradient(ofOutput: output))
    program.rows(output.rows) { geluBackward(x, dy: dy, du: dx, rows: $0) }
  }
}

/// SiLU.
struct SiLUOperation: Operation {
  let x: Tensor
  let output: Tensor

  var inputs: [Tensor] { [x] }

  func forward(_ program: inout Program, _ memory: Memory) {
    let (x, y) = (memory[x], memory[output])
    program.rows(output.rows) { siluForward(x, into: y, rows: $0) }
  }

  func backward(_ program: inout Program, _ memory: Memory) {
    guard let dx = memory.gradient(of: x) else { return }
    let (x, dy) = (memory[x], memory.gradient(ofOutput: output))
    program.rows(output.rows) { siluBackward(x, dy: dy, dx: dx, rows: $0) }
  }
}

extension Recorder {
  /// GELU(x), in the form with tanh.
  public func gelu(_ x: Tensor) -> Tensor {
    record(GELUOperation(x: x, output: output(x.rows, columns: x.columns, of: [x], isCheap: true)))
  }

  /// SiLU(x).
  public func silu(_ x: Tensor) -> Tensor {
    record(SiLUOperation(x: x, output: output(x.rows, columns: x.columns, of: [x])))
  }
}

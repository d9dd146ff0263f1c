import Kernels

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
  /// SiLU(x).
  public func silu(_ x: Tensor) -> Tensor {
    record(SiLUOperation(x: x, output: output(x.rows, columns: x.columns, of: [x])))
  }
}

import Kernels

/// Layer normalization, then adaLN's modulation with one shift and scale per sample.
struct LayerNormOperation: Operation {
  let x: Tensor
  let shift: Tensor
  let scale: Tensor
  let statistics: Tensor
  let output: Tensor

  var inputs: [Tensor] { [x, shift, scale] }
  var notes: [Tensor] { [statistics] }
  var neededByBackward: [Tensor] { [x, scale] }
  var writesRounded: Bool { true }

  func forward(_ program: inout Program, _ memory: Memory) {
    let (x, shift, scale, y) = (memory[x], memory[shift], memory[scale], memory[output])
    let (statistics, rows) = (memory[statistics], output.rows)
    program.rows(rows) {
      modulatedLayerNormForward(
        x, shift: shift, scale: scale, into: y, statistics: statistics, length: rows.length, rows: $0)
    }
  }

  func backward(_ program: inout Program, _ memory: Memory) {
    let (dx, dShift, dScale) = (memory.gradient(of: x), memory.gradient(of: shift), memory.gradient(of: scale))
    let (x, scale, statistics) = (memory[x], memory[scale], memory[statistics])
    let (dy, rows) = (memory.gradient(ofOutput: output), output.rows)
    program.samples(of: rows) {
      modulatedLayerNormBackward(
        x, scale: scale, statistics: statistics, dy: dy, dx: dx, dShift: dShift, dScale: dScale, length: rows.length,
        samples: $0)
    }
  }
}

extension Recorder {
  /// LayerNorm(x)·(1 + scale) + shift; shift and scale have one row per sample.
  public func modulatedLayerNorm(_ x: Tensor, shift: Tensor, scale: Tensor) -> Tensor {
    record(
      LayerNormOperation(
        x: x, shift: shift, scale: scale, statistics: note(x.rows, columns: 2),
        output: output(x.rows, columns: x.columns, of: [x, shift, scale], isCheap: true)))
  }
}

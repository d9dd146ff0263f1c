import Kernels

/// The sinusoidal embedding of timesteps.
struct TimestepEmbeddingOperation: Operation {
  let t: Tensor
  let frequencyShift: Double
  let output: Tensor

  var inputs: [Tensor] { [t] }

  func forward(_ program: inout Program, _ memory: Memory) {
    let (t, y, shift) = (memory[t].base, memory[output], frequencyShift)
    program.rows(output.rows) { timestepEmbedding(t, into: y, frequencyShift: shift, rows: $0) }
  }

  func backward(_ program: inout Program, _ memory: Memory) {}
}

/// Rows of a table of parameters.
struct LookupOperation: Operation {
  let labels: Labels
  let table: Parameter
  let output: Tensor

  var inputs: [Tensor] { [] }

  func forward(_ program: inout Program, _ memory: Memory) {
    let (labels, table, y) = (labels, memory[table], memory[output])
    program.rows(output.rows) { lookupForward(labels.base, table: table, into: y, rows: $0) }
  }

  func backward(_ program: inout Program, _ memory: Memory) {
    let (labels, dTable, dy) = (labels, memory.gradient(of: table, &program), memory.gradient(ofOutput: output))
    let (entries, rows) = (table.rows, output.rows)
    program.deferTasks(1) { _ in
      lookupBackward(labels.base, dy: dy, dTable: dTable(), entries: entries, rows: 0..<rows.count)
    }
  }
}

/// One class label per sample, written before each run.
public final class Labels: @unchecked Sendable {
  /// The labels, each within its table.
  public let base: UnsafeMutablePointer<Int32>

  init(count: Int) {
    base = .allocate(capacity: count)
    base.initialize(repeating: 0, count: count)
  }

  deinit { base.deallocate() }
}

extension Recorder {
  /// The sinusoidal embedding of one timestep per sample.
  public func timestepEmbedding(_ t: Tensor, columns: Int, frequencyShift: Double = 0) -> Tensor {
    let output = output(t.rows, columns: columns, of: [t])
    return record(TimestepEmbeddingOperation(t: t, frequencyShift: frequencyShift, output: output))
  }

  /// Labels that are written before each run.
  public func labels() -> Labels { Labels(count: samples.maximum) }

  /// The rows of a table that the labels select.
  public func lookup(_ labels: Labels, _ table: Parameter) -> Tensor {
    let rows = Rows(samples, length: 1)
    return record(
      LookupOperation(
        labels: labels, table: table, output: output(rows, columns: table.columns, of: [], hasParameters: true)))
  }
}

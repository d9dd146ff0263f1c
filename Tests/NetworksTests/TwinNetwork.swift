import Kernels
import Oracles

@testable import Networks

/// A network that is written once and recorded twice: by a `Recorder`, and as formulas on tables of doubles.
final class TwinNetwork {
  /// A tensor, and its number among the tables.
  struct Value {
    let tensor: Tensor
    let number: Int
  }

  let tape: Recorder
  /// Whether values that are cheap to make are kept all the same.
  private let keepsAll: Bool
  private(set) var parameters = ParameterList()
  private var formulas: [(_ values: [Table], _ parameters: [Double]) -> Table] = []
  private var inputs: [(tensor: Tensor, number: Int, bound: Double)] = []
  private var given: [Int: Table] = [:]
  private var labels: (memory: Labels, entries: Int)?
  private var givenLabels: [Int] = []
  private var tables: [UnsafeMutablePointer<Float>] = []

  /// What is made of the parameters when the network is there.
  private(set) var parameterValues: [Double] = []

  init(samples: Samples, threads: Int, keepsAll: Bool = false, _ precision: Precision = .float32) {
    tape = Recorder(samples: samples, threads: threads, isTraining: true, precision: precision)
    self.keepsAll = keepsAll
  }

  deinit { for table in tables { table.deallocate() } }

  // MARK: The methods of Recorder

  func beginScope() { tape.beginScope() }

  func input(_ rows: Rows, columns: Int, within bound: Double = 1) -> Value {
    let value = add(tape.input(rows, columns: columns)) { _, _ in Table(0, 0, []) }
    inputs.append((value.tensor, value.number, bound))
    let number = value.number
    formulas[number] = { [unowned self] _, _ in given[number]! }
    return value
  }

  func linear(_ x: Value, _ outputs: Int) -> Value {
    linear(x, layer(x.tensor.columns, outputs))
  }

  func layer(_ inputs: Int, _ outputs: Int) -> Linear {
    Linear("layer\(parameters.parameters.count)", [inputs], outputs, in: &parameters)
  }

  func linear(_ x: Value, _ layer: Linear) -> Value {
    add(tape.linear(x.tensor, layer)) {
      Twin.linear($0[x.number], weight: layer.weight.table($1), bias: layer.bias.table($1))
    }
  }

  func silu(_ x: Value) -> Value { add(tape.silu(x.tensor)) { values, _ in Twin.silu(values[x.number]) } }

  func mlp(_ x: Value, hidden: Int) -> Value {
    let (first, second) = (layer(x.tensor.columns, hidden), layer(hidden, x.tensor.columns))
    return add(tape.mlp(x.tensor, first, second)) {
      let h = Twin.linear($0[x.number], weight: first.weight.table($1), bias: first.bias.table($1))
      return Twin.linear(Twin.gelu(h), weight: second.weight.table($1), bias: second.bias.table($1))
    }
  }

  func modulatedLayerNorm(_ x: Value, shift: Value, scale: Value) -> Value {
    let (rows, columns, inputs) = (x.tensor.rows, x.tensor.columns, [x.tensor, shift.tensor, scale.tensor])
    let tensor =
      keepsAll
      ? tape.record(
        LayerNormOperation(
          x: inputs[0], shift: inputs[1], scale: inputs[2], statistics: tape.note(rows, columns: 2),
          output: tape.output(rows, columns: columns, of: inputs)))
      : tape.modulatedLayerNorm(inputs[0], shift: inputs[1], scale: inputs[2])
    return add(tensor) { values, _ in
      Twin.modulatedLayerNorm(
        values[x.number], shift: values[shift.number], scale: values[scale.number], length: rows.length)
    }
  }

  func gatedSum(_ x: Value, gate: Value, _ h: Value) -> Value {
    let inputs = [x.tensor, gate.tensor, h.tensor]
    let tensor =
      keepsAll
      ? tape.record(
        GatedSumOperation(
          x: inputs[0], gate: inputs[1], h: inputs[2],
          output: tape.output(x.tensor.rows, columns: x.tensor.columns, of: inputs)))
      : tape.gatedSum(inputs[0], gate: inputs[1], inputs[2])
    return add(tensor) { values, _ in
      Twin.gatedSum(values[x.number], gate: values[gate.number], values[h.number], length: x.tensor.rows.length)
    }
  }

  func sum(_ a: Value, _ b: Value) -> Value {
    add(tape.sum(a.tensor, b.tensor)) { values, _ in values[a.number] + values[b.number] }
  }

  func sum(_ x: Value, table: Table) -> Value {
    let memory = UnsafeMutablePointer<Float>.allocate(capacity: table.values.count)
    for (i, value) in table.values.enumerated() { memory[i] = Float(value) }
    tables.append(memory)
    return add(tape.sum(x.tensor, table: Matrix(memory, columns: table.columns))) { values, _ in
      Twin.tableSum(values[x.number], table: table, length: x.tensor.rows.length)
    }
  }

  func attention(_ q: Value, _ k: Value, _ v: Value, heads: Int) -> Value {
    let samples = tape.samples
    return add(tape.attention(q.tensor, k.tensor, v.tensor, heads: heads)) { values, _ in
      Twin.attention(values[q.number], values[k.number], values[v.number], heads: heads, samples: samples.count)
    }
  }

  func timestepEmbedding(_ t: Value, columns: Int) -> Value {
    add(tape.timestepEmbedding(t.tensor, columns: columns)) { values, _ in
      Twin.timestepEmbedding(values[t.number].values, columns: columns)
    }
  }

  func lookup(entries: Int, columns: Int) -> Value {
    let table = parameter("table", [entries, columns])
    let memory = tape.labels()
    labels = (memory, entries)
    return add(tape.lookup(memory, table)) { [unowned self] in Twin.lookup(givenLabels, table: table.table($1)) }
  }

  func patchify(_ images: Value, _ grid: PatchGrid, _ order: PatchOrder) -> Value {
    add(tape.patchify(images.tensor, grid, order)) { values, _ in
      Twin.patchify(
        values[images.number], channels: grid.channels, size: grid.size, patch: grid.patch,
        channelsFirst: order == .channelsFirst)
    }
  }

  func unpatchify(_ patches: Value, _ grid: PatchGrid, _ order: PatchOrder) -> Value {
    add(tape.unpatchify(patches.tensor, grid, order)) { values, _ in
      Twin.unpatchify(
        values[patches.number], channels: grid.channels, size: grid.size, patch: grid.patch,
        channelsFirst: order == .channelsFirst)
    }
  }

  func chunked(_ x: Value, _ parts: Int) -> [Value] {
    x.tensor.chunked(parts).map { part in
      add(part) { values, _ in values[x.number].columns(part.firstColumn..<part.firstColumn + part.columns) }
    }
  }

  func add(
    _ tensor: Tensor, _ formula: @escaping (_ values: [Table], _ parameters: [Double]) -> Table
  ) -> Value {
    formulas.append(formula)
    return Value(tensor: tensor, number: formulas.count - 1)
  }

  /// Adds a parameter.
  func parameter(_ name: String, _ shape: [Int]) -> Parameter {
    parameters.add("\(name)\(formulas.count)", shape, .zero)
  }

  // MARK: What runs read

  /// Sets all parameters, to values within [-bound, bound].
  func setParameters(within bound: Double = 0.7, _ numbers: inout Numbers) {
    parameterValues = Table(1, parameters.count, within: bound, of: &numbers).values
  }

  /// Sets inputs and labels of the next run, for as many samples and rows as there are now.
  func setInputs(_ numbers: inout Numbers) {
    for input in inputs {
      let (rows, columns) = (input.tensor.rows.count, input.tensor.columns)
      given[input.number] = Table(rows, columns, within: input.bound, of: &numbers)
    }
    givenLabels = (0..<tape.samples.count).map { _ in Int.random(in: 0..<(labels?.entries ?? 1), using: &numbers) }
  }

  /// Writes them where the recorded network reads them.
  func writeInputs(to plan: Plan) {
    for input in inputs { plan.value(of: input.tensor).write(given[input.number]!) }
    if let labels { for (i, label) in givenLabels.enumerated() { labels.memory.base[i] = Int32(label) } }
  }

  // MARK: The twin

  /// The value in double precision.
  func twin(of value: Value, parameters: [Double]? = nil) -> Table {
    var values: [Table] = []
    for formula in formulas.prefix(value.number + 1) { values.append(formula(values, parameters ?? parameterValues)) }
    return values[value.number]
  }

  /// The gradient of Σ weights·value with regard to a parameter, as central differences of the twin.
  func twinGradient(of parameter: Parameter, value: Value, weights: Table) -> Table {
    var all = parameterValues
    let place = parameter.offset..<parameter.offset + parameter.count
    return centralDifferences(
      of: { tables in
        all.replaceSubrange(place, with: tables[0].values)
        return self.twin(of: value, parameters: all)
      }, at: [parameter.table(parameterValues)], input: 0, weights: weights)
  }
}

extension Parameter {
  /// This parameter as a table.
  func table(_ all: [Double]) -> Table { Table(rows, columns, Array(all[offset..<offset + count])) }
}

extension Matrix {
  func write(_ table: Table) {
    for r in 0..<table.rows { for c in 0..<table.columns { row(r)[c] = Float(table[r, c]) } }
  }
}

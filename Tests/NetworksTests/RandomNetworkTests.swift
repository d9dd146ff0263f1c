import Kernels
import Oracles
import Testing

@testable import Networks

@Suite("Random networks")
struct RandomNetworkTests {
  @Test(
    "Gradients of networks in any order of operations are central differences", arguments: 0..<60, Precision.allCases)
  func gradients(seed: Int, precision: Precision) throws {
    var numbers = Numbers(seed: UInt64(seed))
    let samples = Samples(maximum: Int.random(in: 1...5, using: &numbers))
    let threads = Int.random(in: 1...3, using: &numbers)
    let net = TwinNetwork(samples: samples, threads: threads, precision)
    let (output, lengths) = Self.build(net, &numbers)
    net.setParameters(within: 0.5, &numbers)
    let recorded = try RecordedNetwork(net, output: output)
    // Up to sixteen operations round to bfloat16, mostly two factors each. Pairs that are read as floats are no number near.
    let tolerance = precision == .float32 ? 1e-4 : 16 * 2 * 0x1p-8
    for run in 0..<3 {
      samples.count = run == 0 ? samples.maximum : Int.random(in: 1...samples.maximum, using: &numbers)
      for rows in lengths {
        rows.length = run == 0 ? rows.maximumLength : Int.random(in: 1...rows.maximumLength, using: &numbers)
      }
      net.setInputs(&numbers)
      let expected = net.twin(of: output)
      let weights = Table(expected.rows, expected.columns, of: &numbers)
      recorded.run(weights: weights)
      let forward = Difference("the output of run \(run)", got: recorded.outputTable, expected: expected)
      #expect(forward.relative < tolerance, "\(forward)")
      // The derivative in one random direction of each parameter tells a wrong gradient at a small part of the price.
      // Terms may cancel, as for a bias of keys, whose gradient is 0: what is left is rounding of the terms' size.
      let size = recorded.allGradients.map { Table.dot($0, $0).squareRoot() }.max() ?? 0
      for parameter in net.parameters.parameters {
        let direction = Table(parameter.rows, parameter.columns, of: &numbers)
        let gradient = recorded.gradient(of: parameter)
        let slope = Self.slope(of: net, output, weights, parameter, direction)
        let error = abs(Table.dot(gradient, direction) - slope)
        let length = Table.dot(direction, direction).squareRoot()
        let least = precision == .float32 ? 0.01 * size : size
        let scale = max(Table.dot(gradient, gradient).squareRoot(), least) * length
        #expect(error <= tolerance * scale, "\(parameter.name) in run \(run): off by \(error) of \(slope)")
      }
    }
  }

  /// The derivative of Σ weights·output along a direction of a parameter.
  static func slope(
    of net: TwinNetwork, _ output: TwinNetwork.Value, _ weights: Table, _ parameter: Parameter, _ direction: Table
  ) -> Double {
    let step = 0x1p-17
    let values = [step, -step].map { step in
      var all = net.parameterValues
      for (i, d) in direction.values.enumerated() { all[parameter.offset + i] += step * d }
      return net.twin(of: output, parameters: all)
    }
    return zip(weights.values, zip(values[0].values, values[1].values)).reduce(0) { $0 + $1.0 * ($1.1.0 - $1.1.1) }
      / (2 * step)
  }

  /// Some operations on tensors of one shape, each on tensors that are there at random, until all have a use.
  static func build(_ net: TwinNetwork, _ numbers: inout Numbers) -> (output: TwinNetwork.Value, lengths: [Rows]) {
    let (columns, length) = (4, Int.random(in: 1...6, using: &numbers))
    let rows = Rows(net.tape.samples, length: length)
    let context = Rows(net.tape.samples, length: Int.random(in: 1...6, using: &numbers))
    let vectors = Rows(net.tape.samples, length: 1)
    let conditions = net.chunked(net.linear(net.input(vectors, columns: 3), 2 * columns), 2)
    let others = net.chunked(net.linear(net.input(context, columns: 2), 2 * columns), 2)
    let table = Table(length, columns, of: &numbers)
    var values = [net.linear(net.input(rows, columns: 3), columns)]
    var unused: Set<Int> = [0]
    var othersAreUsed = false
    func take(_ numbers: inout Numbers) -> TwinNetwork.Value {
      let index = Int.random(in: max(0, values.count - 4)..<values.count, using: &numbers)
      unused.remove(index)
      return values[index]
    }
    func append(_ value: TwinNetwork.Value) {
      unused.insert(values.count)
      values.append(value)
    }
    for _ in 0..<Int.random(in: 3...14, using: &numbers) {
      if Int.random(in: 0..<4, using: &numbers) == 0 { net.beginScope() }
      let x = take(&numbers)
      switch Int.random(in: 0..<10, using: &numbers) {
      case 0: append(net.linear(x, columns))
      case 1: append(net.mlp(x, hidden: 5))
      case 2: append(net.silu(x))
      case 3: append(net.sum(x, take(&numbers)))
      case 4: append(net.sum(x, table: table))
      case 5:
        append(net.modulatedLayerNorm(x, shift: conditions[0], scale: conditions[1]))
      case 6:
        append(net.gatedSum(x, gate: conditions[1], take(&numbers)))
        append(net.gatedSum(take(&numbers), gate: conditions[0], take(&numbers)))
      case 7:
        append(net.attention(net.linear(x, columns), take(&numbers), net.linear(take(&numbers), columns), heads: 2))
      case 8:
        othersAreUsed = true
        append(net.attention(x, others[0], others[1], heads: 1))
      default:
        let parts = net.chunked(net.linear(x, 3 * columns), 3)
        append(net.attention(parts[0], parts[1], parts[2], heads: 2))
      }
    }
    if !othersAreUsed { append(net.attention(take(&numbers), others[0], others[1], heads: 1)) }
    if Bool.random(using: &numbers) { net.beginScope() }
    var last = net.gatedSum(
      net.modulatedLayerNorm(take(&numbers), shift: conditions[0], scale: conditions[1]), gate: conditions[1],
      take(&numbers))
    // Every output has a use.
    for index in unused.sorted() { last = net.sum(last, values[index]) }
    return (last, [rows, context])
  }
}

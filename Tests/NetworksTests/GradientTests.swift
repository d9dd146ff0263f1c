import Kernels
import Oracles
import Testing

@testable import Networks

@Suite("Gradients of recorded networks")
struct GradientTests {
  /// A network that uses every method of `Recorder`.
  struct EveryMethod {
    let network: TwinNetwork
    let samples = Samples(maximum: 3)
    /// Tokens whose number may change between runs, and those that others attend to.
    let tokens: Rows
    let context: Rows
    let output: TwinNetwork.Value

    init(threads: Int, keepsAll: Bool = false, _ precision: Precision = .float32) {
      var numbers = Numbers(seed: 1)
      (tokens, context) = (Rows(samples, length: 6), Rows(samples, length: 5))
      let net = TwinNetwork(samples: samples, threads: threads, keepsAll: keepsAll, precision)
      network = net
      let vectors = Rows(samples, length: 1)
      let grid = PatchGrid(channels: 2, size: 4, patch: 2)

      let t = net.input(vectors, columns: 1, within: 3)
      let images = net.input(vectors, columns: grid.imageSize)
      var c = net.linear(net.silu(net.linear(net.timestepEmbedding(t, columns: 7), 5)), 8)
      c = net.silu(net.sum(c, net.lookup(entries: 3, columns: 8)))
      // Patches in one order and in the other, each with its own layer, and back to images.
      let patches = net.sum(
        net.linear(net.patchify(images, grid, .channelsFirst), 8),
        net.linear(net.patchify(images, grid, .channelsLast), 8))
      let positioned = net.sum(patches, table: Table(grid.count, 8, of: &numbers))

      net.beginScope()
      var x = GradientTests.block(net, positioned, c, context: positioned)
      let first = net.unpatchify(net.linear(x, 8), grid, .channelsFirst)
      let last = net.unpatchify(net.linear(x, 8), grid, .channelsLast)

      // Tokens of their own number, which attend to others of another number.
      net.beginScope()
      x = net.linear(net.input(tokens, columns: 4), 8)
      let other = net.linear(net.input(context, columns: 3), 8)
      x = GradientTests.block(net, net.sum(x, table: Table(6, 8, of: &numbers)), c, context: other)
      net.beginScope()
      // One of the others' tokens for each image.
      let summary = net.input(vectors, columns: 8)
      let summed = net.attention(net.sum(summary, c), x, net.silu(x), heads: 4)
      let modulation = net.chunked(net.linear(c, 2 * grid.imageSize), 2)
      net.beginScope()
      let both = net.gatedSum(net.sum(first, last), gate: modulation[0], net.linear(summed, grid.imageSize))
      output = net.gatedSum(both, gate: modulation[1], both)
      net.setParameters(&numbers)
    }
  }

  /// A block that modulates, attends to itself and to others, and has an MLP. Its input has four uses.
  static func block(
    _ net: TwinNetwork, _ x: TwinNetwork.Value, _ c: TwinNetwork.Value, context: TwinNetwork.Value
  ) -> TwinNetwork.Value {
    let m = net.chunked(net.linear(c, 48), 6)
    let parts = net.chunked(net.linear(net.modulatedLayerNorm(x, shift: m[0], scale: m[1]), 24), 3)
    let y = net.gatedSum(x, gate: m[2], net.linear(net.attention(parts[0], parts[1], parts[2], heads: 2), 8))
    net.beginScope()
    let (q, others) = (net.linear(y, 8), net.chunked(net.linear(context, 16), 2))
    let z = net.sum(y, net.attention(q, others[0], others[1], heads: 1))
    let h = net.mlp(net.modulatedLayerNorm(z, shift: m[3], scale: m[4]), hidden: 12)
    return net.sum(net.gatedSum(z, gate: m[5], h), x)
  }

  /// The samples and rows of a run.
  struct Lengths: Sendable, CustomTestStringConvertible {
    let (samples, tokens, context): (Int, Int, Int)

    var testDescription: String { "\(samples) samples, \(tokens) tokens, \(context) others" }

    static let all = [(3, 6, 5), (2, 6, 5), (3, 2, 5), (1, 1, 1), (3, 6, 5)].map {
      Lengths(samples: $0.0, tokens: $0.1, context: $0.2)
    }
  }

  @Test("Every method's gradients are central differences, whatever the threads, samples and rows of a run")
  func everyMethod() throws {
    var recorded: [(EveryMethod, RecordedNetwork)] = []
    for threads in 1...3 {
      let network = EveryMethod(threads: threads)
      recorded.append((network, try RecordedNetwork(network.network, output: network.output)))
    }
    for (run, lengths) in Lengths.all.enumerated() {
      var weights = Table(0, 0, [])
      var gradients: [Table] = []
      for (every, network) in recorded {
        every.samples.count = lengths.samples
        (every.tokens.length, every.context.length) = (lengths.tokens, lengths.context)
        var numbers = Numbers(seed: UInt64(run))
        every.network.setInputs(&numbers)
        let output = every.network.twin(of: every.output)
        weights = Table(output.rows, output.columns, of: &numbers)
        let list = every.network.parameters.parameters
        if gradients.isEmpty {
          gradients = list.map { every.network.twinGradient(of: $0, value: every.output, weights: weights) }
        }
        network.run(weights: weights)
        let place = "with \(network.network.tape.threads) threads, \(lengths.testDescription)"
        let forward = Difference("the output \(place)", got: network.outputTable, expected: output)
        #expect(forward.relative < 1e-5, "\(forward)")
        for (parameter, gradient) in zip(list, gradients) {
          let difference = Difference(
            "\(parameter.name)'s gradient \(place)", got: network.gradient(of: parameter), expected: gradient)
          #expect(difference.relative < 3e-5, "\(difference)")
        }
      }
    }
  }

  @Test(
    "Values that are made again are what they were: gradients are the same as if all were kept", arguments: 1...3,
    Precision.allCases)
  func recomputation(threads: Int, precision: Precision) throws {
    let gradients = try [false, true].map { keepsAll in
      let every = EveryMethod(threads: threads, keepsAll: keepsAll, precision)
      let recorded = try RecordedNetwork(every.network, output: every.output)
      var numbers = Numbers(seed: 4)
      every.network.setInputs(&numbers)
      recorded.run(weights: Table(3, 32, of: &numbers))
      return recorded.allGradients
    }
    let areSame = gradients[0] == gradients[1]
    #expect(areSame)
  }

  @Test("A run's gradients are the same bits each time", arguments: 1...3)
  func repeated(threads: Int) throws {
    let every = EveryMethod(threads: threads)
    let recorded = try RecordedNetwork(every.network, output: every.output)
    var numbers = Numbers(seed: 4)
    every.network.setInputs(&numbers)
    let weights = Table(3, 32, of: &numbers)
    recorded.run(weights: weights)
    let expected = recorded.allGradients
    for _ in 0..<20 {
      recorded.run(weights: weights)
      let areSame = recorded.allGradients == expected
      #expect(areSame)
    }
  }

  @Test("A second micro-batch adds its gradients to those of the first")
  func microBatches() throws {
    let every = EveryMethod(threads: 2)
    let recorded = try RecordedNetwork(every.network, output: every.output)
    var numbers = Numbers(seed: 4)
    let batches = (0..<2).map { _ in
      every.network.setInputs(&numbers)
      let weights = Table(3, 32, of: &numbers)
      recorded.run(weights: weights)
      recorded.accumulation.hasBegun = true
      let first = recorded.allGradients
      // The second time alone.
      recorded.accumulation.hasBegun = false
      recorded.run(weights: weights)
      recorded.accumulation.hasBegun = true
      return (first, recorded.allGradients)
    }
    let areSame = batches[0].0 == batches[0].1
    #expect(areSame)
    for (i, parameter) in every.network.parameters.parameters.enumerated() {
      let difference = Difference(
        "\(parameter.name)'s sum", got: batches[1].0[i], expected: batches[0].1[i] + batches[1].1[i])
      #expect(difference.relative < 1e-6, "\(difference)")
    }
  }

  @Test("A tensor may be both terms of a sum, and its own gated sum")
  func sameTensorTwice() throws {
    try expectGradients { net, rows in
      let x = net.linear(net.input(rows, columns: 3), 4)
      let gate = net.linear(net.input(Rows(net.tape.samples, length: 1), columns: 2), 4)
      let doubled = net.sum(x, x)
      return net.gatedSum(net.sum(doubled, doubled), gate: gate, net.gatedSum(x, gate: gate, x))
    }
  }

  @Test(
    "Keys and values may be one tensor", arguments: [[0, 1, 1], [1, 0, 0]])
  func sameKeysAndValues(which: [Int]) throws {
    try expectGradients { net, rows in
      let x = (0...which.max()!).map { _ in net.linear(net.input(rows, columns: 3), 4) }
      return net.attention(x[which[0]], x[which[1]], x[which[2]], heads: 2)
    }
  }

  @Test("A layer may be used twice")
  func sharedLayer() throws {
    try expectGradients { net, rows in
      let layer = net.layer(4, 4)
      let x = net.linear(net.input(rows, columns: 3), 4)
      return net.linear(net.silu(net.linear(x, layer)), layer)
    }
  }

  @Test("A part of a tensor may have several uses")
  func partsWithSeveralUses() throws {
    try expectGradients { net, rows in
      let parts = net.chunked(net.linear(net.input(rows, columns: 3), 8), 2)
      return net.sum(net.sum(parts[0], net.silu(parts[0])), net.linear(net.sum(parts[1], parts[0]), 4))
    }
  }

  /// Expects each parameter's gradient to be central differences, for one and two threads.
  private func expectGradients(
    _ build: (_ net: TwinNetwork, _ rows: Rows) -> TwinNetwork.Value, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    for threads in 1...2 {
      var numbers = Numbers(seed: 11)
      let samples = Samples(maximum: 2)
      let net = TwinNetwork(samples: samples, threads: threads)
      let output = build(net, Rows(samples, length: 3))
      net.setParameters(&numbers)
      net.setInputs(&numbers)
      let recorded = try RecordedNetwork(net, output: output)
      let expected = net.twin(of: output)
      let weights = Table(expected.rows, expected.columns, of: &numbers)
      recorded.run(weights: weights)
      let forward = Difference("the output", got: recorded.outputTable, expected: expected)
      #expect(forward.relative < 1e-5, "\(forward)", sourceLocation: sourceLocation)
      for parameter in net.parameters.parameters {
        let difference = Difference(
          "\(parameter.name)'s gradient", got: recorded.gradient(of: parameter),
          expected: net.twinGradient(of: parameter, value: output, weights: weights))
        #expect(difference.relative < 3e-5, "\(difference)", sourceLocation: sourceLocation)
      }
    }
  }
}

import ArgumentErrors
import Kernels
import Oracles
import Testing
import TimestepSampling

@testable import Networks

// What a masked network is made of, in the twin.
extension TwinNetwork {
  func keep(_ x: Value, _ order: TokenOrder) -> Value {
    add(tape.keep(x.tensor, order)) { values, _ in
      let kept = order.kept.length
      return Table(order.kept.count, x.tensor.columns) { r, c in
        let sample = r / kept
        return values[x.number][sample * order.length + Int(order.base[sample * order.length + r % kept]), c]
      }
    }
  }

  func restore(_ x: Value, _ order: TokenOrder, rows: Rows) -> Value {
    let token = parameter("token", [1, 1, x.tensor.columns])
    return add(tape.restore(x.tensor, token: token, order, rows: rows)) { values, all in
      Table(rows.count, x.tensor.columns) { r, c in
        let place = order.place(of: r)
        return place < order.kept.length
          ? values[x.number][r / order.length * order.kept.length + place, c] : token.table(all)[0, c]
      }
    }
  }

  func choose(masked: Value, present: Value, _ order: TokenOrder) -> Value {
    add(tape.choose(masked: masked.tensor, present: present.tensor, order)) { values, _ in
      Table(masked.tensor.rows.count, masked.tensor.columns) { r, c in
        values[(order.place(of: r) < order.kept.length ? present : masked).number][r, c]
      }
    }
  }

  func sum(_ x: Value, trainedRows length: Int) -> Value {
    let table = parameter("positions", [1, length, x.tensor.columns])
    return add(tape.sum(x.tensor, table: table)) { values, all in
      let rows = Table(length, x.tensor.columns, table.table(all).values)
      return Twin.tableSum(values[x.number], table: rows, length: length)
    }
  }

  func concatenation(_ a: Value, _ b: Value) -> Value {
    let columns = a.tensor.columns
    return add(tape.concatenation(a.tensor, b.tensor)) { values, _ in
      Table(a.tensor.rows.count, columns + b.tensor.columns) { r, c in
        c < columns ? values[a.number][r, c] : values[b.number][r, c - columns]
      }
    }
  }

  func selfAttention(_ x: Value, heads: Int, grid: Int, order: TokenOrder?) -> Value {
    let table = parameter("bias", PositionBias.shape(grid: grid, heads: heads))
    let parts = chunked(x, 3)
    let bias = PositionBias(table: table, grid: grid, order: order)
    let (q, k, v) = (parts[0], parts[1], parts[2])
    return add(tape.attention(q.tensor, k.tensor, v.tensor, heads: heads, bias: bias)) { [tape] values, all in
      Twin.attention(
        values[q.number], values[k.number], values[v.number], heads: heads, samples: tape.samples.count
      ) { head, sample, query, key in
        func place(_ token: Int) -> Int { order.map { Int($0.base[sample * $0.length + token]) } ?? token }
        let (q, k) = (place(query), place(key))
        let (dy, dx) = (q / grid - k / grid + grid - 1, q % grid - k % grid + grid - 1)
        return table.table(all)[dy * (2 * grid - 1) + dx, head]
      }
    }
  }
}

extension TokenOrder {
  /// Where in its sample's order a token stands, of all samples' tokens.
  fileprivate func place(of token: Int) -> Int {
    let sample = token / length
    return (0..<length).first { Int(base[sample * length + $0]) == token % length }!
  }

  fileprivate func shuffle(_ numbers: inout Numbers) {
    for sample in 0..<kept.samples.maximum {
      for (i, token) in (0..<Int32(length)).shuffled(using: &numbers).enumerated() { base[sample * length + i] = token }
    }
  }
}

@Suite("Masked networks")
struct MaskedNetworkTests {
  /// An encoder of the tokens that stay, a guess of the others, and a decoder that sees its input too.
  private struct Masked {
    let network: TwinNetwork
    let samples = Samples(maximum: 3)
    let order: TokenOrder
    let output: TwinNetwork.Value

    init(threads: Int) throws {
      let net = TwinNetwork(samples: samples, threads: threads)
      let rows = Rows(samples, length: 9)
      order = try net.tape.tokenOrder(length: 9)
      let all = net.sum(net.linear(net.input(rows, columns: 4), 6), trainedRows: 9)
      var x = net.keep(all, order)
      net.beginScope()
      x = net.sum(x, net.linear(net.selfAttention(net.linear(x, 18), heads: 2, grid: 3, order: order), 6))
      let skip = x
      net.beginScope()
      x = net.linear(net.concatenation(net.mlp(x, hidden: 7), skip), 6)
      net.beginScope()
      let known = net.sum(net.restore(x, order, rows: rows), trainedRows: 9)
      let guessed = net.sum(
        known, net.linear(net.selfAttention(net.linear(known, 18), heads: 3, grid: 3, order: nil), 6))
      x = net.choose(masked: guessed, present: known, order)
      net.beginScope()
      output = net.linear(net.concatenation(x, all), 5)
      network = net
      var numbers = Numbers(seed: 3)
      net.setParameters(&numbers)
    }
  }

  @Test("Gradients are central differences, whatever the threads, samples and tokens that stay", arguments: 1...3)
  func gradients(threads: Int) throws {
    let masked = try Masked(threads: threads)
    let recorded = try RecordedNetwork(masked.network, output: masked.output)
    // The lengths of a run are those of its own: nothing is recorded anew.
    for (run, (samples, kept)) in [(3, 6), (2, 9), (3, 1), (1, 5), (3, 6)].enumerated() {
      (masked.samples.count, masked.order.kept.length) = (samples, kept)
      var numbers = Numbers(seed: UInt64(run))
      masked.order.shuffle(&numbers)
      masked.network.setInputs(&numbers)
      let output = masked.network.twin(of: masked.output)
      let weights = Table(output.rows, output.columns, of: &numbers)
      recorded.run(weights: weights)
      let place = "of \(samples) samples with \(kept) tokens"
      let forward = Difference("the output \(place)", got: recorded.outputTable, expected: output)
      #expect(forward.relative < 1e-5, "\(forward)")
      for parameter in masked.network.parameters.parameters {
        let gradient = masked.network.twinGradient(of: parameter, value: masked.output, weights: weights)
        let difference = Difference(
          "\(parameter.name)'s gradient \(place)", got: recorded.gradient(of: parameter), expected: gradient)
        #expect(difference.relative < 3e-5, "\(difference)")
      }
    }
  }
}

@Suite("MDT")
struct MDTTests {
  private static func small(
    _ version: MDTMasking.Version, decoderDepth: Int, maskRatio: Double = 0.3, minSNRGamma: Double? = nil
  ) -> MDTConfiguration {
    MDTConfiguration(
      shape: TransformerShape(
        inputSize: 8, patchSize: 2, channels: 3, hiddenSize: 12, depth: 6, heads: 3, classes: 4),
      masking: MDTMasking(
        version: version, decoderDepth: decoderDepth, maskRatio: maskRatio, minSNRGamma: minSNRGamma))
  }

  @Test("Both versions of MDT-S/2 have the official blocks, skips and tables", arguments: [1, 2])
  func official(version: Int) throws {
    let network = try NetworkFamilies.official(version == 1 ? "MDT-S/2" : "MDTv2-S/2")
    #expect((network.errorFactor as? MinSNRWeighting)?.gamma == (version == 1 ? nil : 5))
    #expect(network.passes.map { $0.hidden == nil } == [true, false])
    let names = network.parameters.parameters.map(\.name)
    #expect(names.first == "pos_embed" && Set(names).count == names.count)
    let blocks = names.filter { $0.hasSuffix("relative_position_bias_table") }
    #expect(blocks.count == 13)
    #expect(names.filter { $0.hasSuffix("skip_linear.weight") }.count == (version == 1 ? 0 : 8))
    let table = network.parameters.parameters.first { $0.name == blocks[0] }
    #expect(table?.shape == [31 * 31 + 3, 6])
  }

  @Test("A network is recorded with and without a mask", arguments: [1, 2], [false, true])
  func recording(version: Int, isMasked: Bool) throws {
    let network = try Self.small(version == 1 ? .one : .two, decoderDepth: 2).network()
    let tape = Recorder(samples: Samples(maximum: 2), threads: 1, isTraining: true)
    let pass = network.record(tape, fixed: [], order: try isMasked ? tape.tokenOrder(length: 16) : nil)
    #expect(pass.inputs.images.columns == 3 * 64 && pass.output.columns == 6 * 64)
  }

  @Test("What cannot be masked is refused with a sentence")
  func refusals() {
    func message(_ configuration: MDTConfiguration) -> String? {
      #expect(throws: ArgumentError.self) { try configuration.network() }?.description
    }
    #expect(
      message(Self.small(.two, decoderDepth: 3))
        == "decoderDepth must leave an even number of the 6 blocks for MDTv2's encoder, got 3")
    #expect(message(Self.small(.two, decoderDepth: 8)) == "decoderDepth must be in [0, depth = 6], got 8")
    for (version, ratio) in [(MDTMasking.Version.two, 0.78), (.one, .nan), (.one, -0.1), (.one, 1)] {
      #expect(
        message(Self.small(version, decoderDepth: 2, maskRatio: ratio))
          == "maskRatio must be in [0, 1) and leave at least one of 16 tokens, got \(ratio)")
    }
    for gamma in [0, -1, .nan, Double.infinity] {
      #expect(
        message(Self.small(.one, decoderDepth: 2, minSNRGamma: gamma))
          == "minSNRGamma must be positive and finite, got \(gamma)")
    }
  }
}

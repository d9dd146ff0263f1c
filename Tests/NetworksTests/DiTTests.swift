import ArgumentErrors
import Kernels
import Networks
import Testing

@Suite("DiT")
struct DiTTests {
  static let small = TransformerShape(
    inputSize: 8, patchSize: 2, channels: 3, hiddenSize: 12, depth: 2, heads: 3, mlpRatio: 2.5, classes: 10,
    classDropout: 0.1, learnsSigma: true)

  @Test("In bfloat16 a step needs at most half of float32's memory for activations")
  func bfloat16Memory() throws {
    let shape = TransformerShape(
      inputSize: 28, patchSize: 4, channels: 1, hiddenSize: 128, depth: 6, heads: 4, classes: 10, learnsSigma: false)
    let network = try shape.network()
    // Nothing is run, so one float stands for all memory.
    let memory = UnsafeMutablePointer<Float>.allocate(capacity: 1)
    defer { memory.deallocate() }
    let counts = try Precision.allCases.map { precision in
      let tape = Recorder(samples: Samples(maximum: 64), threads: 2, isTraining: true, precision: precision)
      let pass = network.record(tape, fixed: [Matrix(memory, columns: shape.hiddenSize)], order: nil)
      let parameters = ParameterMemory(parameters: memory, gradients: memory, accumulation: Accumulation())
      return try Plan(tape, output: pass.output, parameters: parameters).activationCount
    }
    #expect(2 * counts[1] <= counts[0], "\(counts[1]) floats of memory instead of \(counts[0])")
  }

  @Test("Parameters have the names and shapes of the official state dict")
  func parameters() throws {
    // From facebookresearch/DiT, models.py, of which pos_embed is a buffer that is not trained.
    let block: [(String, [Int])] = [
      ("attn.qkv.weight", [36, 12]), ("attn.qkv.bias", [36]), ("attn.proj.weight", [12, 12]), ("attn.proj.bias", [12]),
      ("mlp.fc1.weight", [30, 12]), ("mlp.fc1.bias", [30]), ("mlp.fc2.weight", [12, 30]), ("mlp.fc2.bias", [12]),
      ("adaLN_modulation.1.weight", [72, 12]), ("adaLN_modulation.1.bias", [72]),
    ]
    let expected: [(String, [Int])] =
      [
        ("x_embedder.proj.weight", [12, 3, 2, 2]), ("x_embedder.proj.bias", [12]),
        ("t_embedder.mlp.0.weight", [12, 256]), ("t_embedder.mlp.0.bias", [12]),
        ("t_embedder.mlp.2.weight", [12, 12]), ("t_embedder.mlp.2.bias", [12]),
        ("y_embedder.embedding_table.weight", [11, 12]),
      ] + (0..<2).flatMap { i in block.map { ("blocks.\(i).\($0.0)", $0.1) } } + [
        ("final_layer.linear.weight", [24, 12]), ("final_layer.linear.bias", [24]),
        ("final_layer.adaLN_modulation.1.weight", [24, 12]), ("final_layer.adaLN_modulation.1.bias", [24]),
      ]
    let network = try Self.small.network()
    let list = network.parameters.parameters
    #expect(list.map(\.name) == expected.map(\.0))
    #expect(list.map(\.shape) == expected.map(\.1))
    #expect(network.fixedTensors.tensors.map(\.name) == ["pos_embed"])
    #expect(network.fixedTensors.tensors.map(\.shape) == [[1, 16, 12]])
    // One after the other, each at a multiple of 64 bytes.
    for (parameter, next) in zip(list, list.dropFirst()) {
      #expect(parameter.offset % 16 == 0 && (0..<16).contains(next.offset - parameter.offset - parameter.count))
    }
  }

  @Test("The label table has a null label where labels are dropped, and is not there without labels")
  func labels() throws {
    for (classes, dropout, entries) in [(10, 0.1, 11), (10, 0, 10), (1, 1, 2), (0, 0.1, nil)] {
      var configuration = Self.small
      (configuration.classes, configuration.classDropout) = (classes, dropout)
      let list = try configuration.network().parameters.parameters
      #expect(list.first { $0.name == "y_embedder.embedding_table.weight" }?.shape.first == entries)
    }
  }

  @Test("A network without a learned variance predicts as many planes as it is given")
  func planes() throws {
    var configuration = Self.small
    configuration.learnsSigma = false
    let network = try configuration.network()
    #expect(network.parameters.parameters.first { $0.name == "final_layer.linear.bias" }?.shape == [12])
    let tape = Recorder(samples: Samples(maximum: 2), threads: 1, isTraining: false)
    let positions = UnsafeMutablePointer<Float>.allocate(capacity: 16 * 12)
    defer { positions.deallocate() }
    let pass = network.record(tape, fixed: [Matrix(positions, columns: 12)], order: nil)
    #expect(pass.inputs.images.columns == 3 * 64 && pass.output.columns == 3 * 64)
  }

  @Test(
    "The official networks have as many parameters as their paper says",
    arguments: [
      ("DiT-S/2", 33), ("DiT-S/4", 33), ("DiT-S/8", 33), ("DiT-B/2", 130), ("DiT-B/4", 130), ("DiT-B/8", 131),
      ("DiT-L/2", 458), ("DiT-L/4", 458), ("DiT-L/8", 459), ("DiT-XL/2", 675), ("DiT-XL/4", 675), ("DiT-XL/8", 676),
    ])
  func official(name: String, millions: Int) throws {
    // Peebles and Xie 2023, Table 4, in millions; of /8 some have a million more or less there.
    let count = try NetworkFamilies.official(name).parameters.parameters.reduce(0) { $0 + $1.count }
    #expect(abs(Double(count) / 1e6 - Double(millions)) < 1, "\(count)")
  }

  @Test(
    "An unknown name gets the nearest one",
    arguments: [
      ("DiT-S2", "DiT-S/2"), ("dit-xl/4", "DiT-XL/4"), ("DiT-L/48", "DiT-L/4"), ("B/4", "DiT-B/4"),
      ("DiT-XXL/2", "DiT-XL/2"),
      ("DIT_B/8", "DiT-B/8"), ("mdtv2-s2", "MDTv2-S/2"), ("mdt-b/8", "MDT-B/8"),
    ])
  func nearestName(name: String, nearest: String) {
    let error = #expect(throws: ArgumentError.self) { try NetworkFamilies.official(name) }
    #expect(
      error?.description
        == "name must be an official network, DiT-S/2 to DiT-XL/8, MDT-S/2 to MDT-XL/8, MDTv2-S/2 to MDTv2-XL/8 "
        + "(did you mean \(nearest)?), got \(name)")
  }

  @Test("Names that are like no other are refused too", arguments: ["", "🙂", String(repeating: "x", count: 100_000)])
  func strangeName(name: String) {
    #expect(throws: ArgumentError.self) { try NetworkFamilies.official(name) }
  }

  /// A change of a configuration, and the sentence that refuses it.
  struct Refusal: Sendable, CustomTestStringConvertible {
    let change: @Sendable (inout TransformerShape) -> Void
    let testDescription: String

    init(_ testDescription: String, _ change: @escaping @Sendable (inout TransformerShape) -> Void) {
      self.change = change
      self.testDescription = testDescription
    }
  }

  @Test(
    "What cannot be built is refused",
    arguments: [
      Refusal("inputSize must be in [1, 16384], got 0") { $0.inputSize = 0 },
      Refusal("inputSize must be in [1, 16384], got 16385") { $0.inputSize = 16385 },
      Refusal("patchSize must be in [1, 8], got 0") { $0.patchSize = 0 },
      Refusal("patchSize must be in [1, 8], got 9") { $0.patchSize = 9 },
      Refusal("inputSize must be a multiple of patchSize = 3, got 8") { $0.patchSize = 3 },
      Refusal("inputSize / patchSize must be in [1, 1024], got 16384") { ($0.inputSize, $0.patchSize) = (16384, 1) },
      Refusal("channels must be in [1, 4096], got 0") { $0.channels = 0 },
      Refusal("hiddenSize must be in [4, 65536], got -12") { $0.hiddenSize = -12 },
      Refusal("heads must be in [1, 12], got 13") { $0.heads = 13 },
      Refusal("heads must be in [1, 12], got 0") { $0.heads = 0 },
      Refusal("hiddenSize must be a multiple of 4 and of heads = 5, got 12") { $0.heads = 5 },
      Refusal("hiddenSize must be a multiple of 4 and of heads = 1, got 6") { ($0.hiddenSize, $0.heads) = (6, 1) },
      Refusal("depth must be in [1, 4096], got 0") { $0.depth = 0 },
      Refusal("mlpRatio must be in (0, 64] and give at least one hidden unit, got nan") { $0.mlpRatio = .nan },
      Refusal("mlpRatio must be in (0, 64] and give at least one hidden unit, got 0.01") { $0.mlpRatio = 0.01 },
      Refusal("mlpRatio must be in (0, 64] and give at least one hidden unit, got inf") { $0.mlpRatio = .infinity },
      Refusal("classes must be in [0, 16777216], got -1") { $0.classes = -1 },
      Refusal("classDropout must be in [0, 1], got nan") { $0.classDropout = .nan },
      Refusal("classDropout must be in [0, 1], got 1.5") { $0.classDropout = 1.5 },
      Refusal("frequencyShift must be in [0, 1], got nan") { $0.frequencyShift = .nan },
      Refusal("frequencyShift must be in [0, 1], got 1.5") { $0.frequencyShift = 1.5 },
    ])
  func refused(_ refusal: Refusal) {
    var configuration = Self.small
    refusal.change(&configuration)
    let error = #expect(throws: ArgumentError.self) { try configuration.check() }
    #expect(error?.description == refusal.testDescription)
    #expect(throws: ArgumentError.self) { try configuration.network() }
  }
}

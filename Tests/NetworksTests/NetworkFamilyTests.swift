import ArgumentErrors
import Testing

@testable import Networks

@Suite("Families of networks")
struct NetworkFamilyTests {
  /// A configuration with a value that must be given.
  private struct Plain: NetworkConfiguration {
    var width = 0
    var isDeep = true

    static var fields: [NetworkField<Plain>] {
      [.integer("width", \.width, isRequired: true), .flag("deep", \.isDeep)]
    }

    func network() throws -> any DiffusionNetwork {
      try TransformerShape(hiddenSize: width, depth: isDeep ? 2 : 1, heads: 2).network()
    }
  }

  private static func message(_ family: NetworkFamily, _ given: [(name: String, value: Double)]) -> String? {
    #expect(throws: ArgumentError.self) { try family.make(given) }?.description
  }

  @Test("A network is made again from its description", arguments: NetworkFamilies.all.map(\.name))
  func descriptions(name: String) throws {
    let family = try NetworkFamily(named: name)
    let given: [(name: String, value: Double)] = [
      ("hidden_size", 24), ("depth", 6), ("num_heads", 3), ("mlp_ratio", 1.5), ("learn_sigma", 0),
    ]
    let network = try family.make(given)
    #expect(network.description.family == name)
    for (name, value) in given { #expect(network.description.values.first { $0.name == name }?.value == value) }
    let again = try family.make(network.description.values)
    #expect(again.description.values.map(\.value) == network.description.values.map(\.value))
    #expect(again.parameters.parameters.map(\.shape) == network.parameters.parameters.map(\.shape))
    #expect(network.description.values.map(\.name) == family.values.map(\.name))
  }

  @Test("Unknown, missing and repeated values are refused with a list of what the family has")
  func refusals() throws {
    let plain = NetworkFamily("plain", Plain.self)
    #expect(
      Self.message(plain, [("wide", 1)])
        == "wide must be a value of plain (width (required), deep = true), got an unknown name")
    #expect(Self.message(plain, []) == "width must be given to plain (width (required), deep = true), got none")
    #expect(Self.message(plain, [("width", 8), ("width", 8)]) == "width must be given once, got several")
    #expect(Self.message(plain, [("width", 8.5)]) == "width must be a whole number, got 8.5")
    #expect(Self.message(plain, [("width", .nan)]) == "width must be a whole number, got nan")
    #expect(Self.message(plain, [("width", 8), ("deep", 2)]) == "deep must be 0 or 1, got 2.0")
    #expect(try plain.make([("width", 8)]).description.values.first { $0.name == "depth" }?.value == 2)
    let dit = Self.message(try NetworkFamily(named: "dit"), [("decode_layer", 1)])
    #expect(dit?.contains("hidden_size = 1152") == true && dit?.contains("learn_sigma = true") == true)
    #expect(
      #expect(throws: ArgumentError.self) { try NetworkFamily(named: "unet") }?.description
        .hasPrefix("family must be one of dit, mdt") == true)
  }

  @Test("Given values precede those of an official network")
  func official() throws {
    let network = try NetworkFamilies.official("MDT-S/8", [("depth", 4), ("num_classes", 0)])
    let values = Dictionary(uniqueKeysWithValues: network.description.values.map { ($0.name, $0.value) })
    #expect(values["depth"] == 4 && values["patch_size"] == 8 && values["version"] == 1 && values["num_classes"] == 0)
    #expect(network.labels == nil && network.description.family == "mdt")
  }

  @Test("Fixed tensors start at multiples of 64 bytes")
  func fixedTensors() {
    var list = FixedTensorList()
    #expect(list.count == 0)
    list.add("a", [1, 3, 7]) { _ in }
    list.add("b", [5]) { _ in }
    #expect(list.tensors.map(\.offset) == [0, 32] && list.count == 37 && list.tensors.map(\.columns) == [7, 5])
  }
}

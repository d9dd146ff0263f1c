import ArgumentErrors
import Networks
import Safetensors

/// How a checkpoint's metadata describe its network: `network.family`, and `network.` before the name of each value.
struct NetworkMetadata {
  private let family: NetworkFamily
  private let values: [(name: String, value: Double)]

  private static let prefix = "network."
  private static let familyKey = "network.family"

  /// The metadata of a network.
  static func of(_ network: any DiffusionNetwork) -> [String: String] {
    let description = network.description
    // A network's family is in the list, or it could not be made again.
    let family = try? NetworkFamily(named: description.family)
    let kinds = Dictionary((family?.values ?? []).map { ($0.name, $0.kind) }) { kind, _ in kind }
    let values = description.values.map { (prefix + $0.name, text(of: $0.value, kinds[$0.name] ?? .real)) }
    return Dictionary(values) { value, _ in value }.merging([familyKey: description.family]) { $1 }
  }

  /// Reads the description in a checkpoint of either version.
  ///
  /// - Throws: `SafetensorsError` if a value is missing, unknown or of another kind.
  init(_ metadata: CheckpointMetadata, version: Int) throws {
    if version == 1 {
      let families = NetworkFamilies.all.filter { $0.formerKeys.map { metadata.has($0.mark) } ?? false }
      // Without any mark, the first family says what is missing.
      let family = families.last ?? NetworkFamilies.all[0]
      let keys = family.formerKeys
      (self.family, values) = (
        family,
        try family.values.map { value in
          let key = keys?.key(value.name) ?? value.name
          if let absent = keys?.absent[value.name], !metadata.has(key) { return (value.name, absent) }
          return (value.name, try metadata.number(key, value.kind))
        }
      )
      return
    }
    let name = try metadata.text(Self.familyKey)
    guard let family = try? NetworkFamily(named: name) else {
      throw SafetensorsError.contents(
        path: metadata.path,
        rule: "must have a network of one of the families "
          + NetworkFamilies.all.map(\.name).joined(separator: ", "), got: String(name.prefix(40)))
    }
    let known = Set([Self.familyKey] + family.values.map { Self.prefix + $0.name })
    if let unknown = metadata.keys.first(where: { $0.hasPrefix(Self.prefix) && !known.contains($0) }) {
      throw SafetensorsError.contents(
        path: metadata.path, rule: "must have only values of \(name) in its metadata", got: String(unknown.prefix(40)))
    }
    self.family = family
    values = try family.values.map { ($0.name, try metadata.number(Self.prefix + $0.name, $0.kind)) }
  }

  /// The network.
  ///
  /// - Throws: `ArgumentError` if it cannot be built.
  func network() throws -> any DiffusionNetwork { try family.make(values) }
}

extension CheckpointMetadata {
  /// A value of a network.
  fileprivate func number(_ key: String, _ kind: NetworkValueKind) throws -> Double {
    switch kind {
    case .integer: Double(try integer(key))
    case .real: try real(key)
    case .flag: try flag(key) ? 1 : 0
    }
  }
}

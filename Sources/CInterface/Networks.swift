import ArgumentErrors
import CSpeeDiff
import Networks

typealias NetworkHandle = Handle<any DiffusionNetwork>

/// A family, with its names in C's form.
private struct FamilyNames: @unchecked Sendable {
  let family: NetworkFamily
  let name: UnsafePointer<CChar>
  let values: [UnsafePointer<CChar>]

  init(_ family: NetworkFamily) {
    self.family = family
    name = permanent(family.name)
    values = family.values.map { permanent($0.name) }
  }

  /// The families in the order of their list.
  static let all = NetworkFamilies.all.map { FamilyNames($0) }
  /// Their names, separated by spaces.
  nonisolated(unsafe) static let list = permanent(all.map(\.family.name).joined(separator: " "))

  /// The family that C names.
  static func named(_ name: UnsafePointer<CChar>?) throws -> FamilyNames {
    let family = try NetworkFamily(named: String(cString: unwrap(name, "family")))
    // The names are those of the same list.
    return all.first { $0.family.name == family.name }!
  }
}

/// Makes a network of a family.
@_cdecl("speediff_network_create") @implementation
public func speediff_network_create(
  _ family: UnsafePointer<CChar>!, _ names: UnsafePointer<UnsafePointer<CChar>?>!, _ values: UnsafePointer<Double>!,
  _ count: Int64, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try NetworkHandle.create(out) {
      try FamilyNames.named(family).family.make(namedValues(names, values, count))
    }
  }
}

/// Makes an official network.
@_cdecl("speediff_network_create_official") @implementation
public func speediff_network_create_official(
  _ name: UnsafePointer<CChar>!, _ names: UnsafePointer<UnsafePointer<CChar>?>!, _ values: UnsafePointer<Double>!,
  _ count: Int64, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try NetworkHandle.create(out) {
      try NetworkFamilies.official(String(cString: unwrap(name, "name")), namedValues(names, values, count))
    }
  }
}

/// Frees a network.
@_cdecl("speediff_network_destroy") @implementation
public func speediff_network_destroy(_ network: OpaquePointer!) {
  NetworkHandle.destroy(network)
}

/// Gives the name of its family.
@_cdecl("speediff_network_family") @implementation
public func speediff_network_family(
  _ network: OpaquePointer!, _ family: UnsafeMutablePointer<UnsafePointer<CChar>?>!
) -> speediff_status {
  reportingStatus {
    let network = try NetworkHandle.value(network, "network")
    let names = FamilyNames.all.first { $0.family.name == network.description.family }
    try unwrap(family, "family").pointee = names?.name
  }
}

/// Writes a value.
@_cdecl("speediff_network_value") @implementation
public func speediff_network_value(
  _ network: OpaquePointer!, _ name: UnsafePointer<CChar>!, _ value: UnsafeMutablePointer<Double>!
) -> speediff_status {
  reportingStatus {
    let description = try NetworkHandle.value(network, "network").description
    let name = try String(cString: unwrap(name, "name"))
    let value = try unwrap(value, "value")
    guard let found = description.values.first(where: { $0.name == name }) else {
      throw ArgumentError(
        "name", "must be one of \(description.values.map(\.name).joined(separator: ", "))", got: name)
    }
    value.pointee = found.value
  }
}

/// Lists the families.
@_cdecl("speediff_network_family_names") @implementation
public func speediff_network_family_names() -> UnsafePointer<CChar>! { FamilyNames.list }

/// Writes the number of a family's values.
@_cdecl("speediff_network_family_value_count") @implementation
public func speediff_network_family_value_count(
  _ family: UnsafePointer<CChar>!, _ out: UnsafeMutablePointer<Int64>!
) -> speediff_status {
  reportingStatus {
    let names = try FamilyNames.named(family)
    try unwrap(out, "out").pointee = Int64(names.values.count)
  }
}

/// Describes a value of a family.
@_cdecl("speediff_network_family_value") @implementation
public func speediff_network_family_value(
  _ family: UnsafePointer<CChar>!, _ index: Int64, _ name: UnsafeMutablePointer<UnsafePointer<CChar>?>!,
  _ kind: UnsafeMutablePointer<Int32>!, _ standard: UnsafeMutablePointer<Double>!
) -> speediff_status {
  reportingStatus {
    let names = try FamilyNames.named(family)
    guard index >= 0, index < names.values.count else {
      throw ArgumentError("index", "must be in [0, \(names.values.count))", got: index)
    }
    let (name, kind, standard) = try (unwrap(name, "name"), unwrap(kind, "kind"), unwrap(standard, "standard"))
    let value = names.family.values[Int(index)]
    name.pointee = names.values[Int(index)]
    let number =
      switch value.kind {
      case .integer: SPEEDIFF_VALUE_INTEGER
      case .real: SPEEDIFF_VALUE_REAL
      case .flag: SPEEDIFF_VALUE_FLAG
      }
    kind.pointee = Int32(number.rawValue)
    standard.pointee = value.standard ?? .nan
  }
}

/// The network of a trainer.
@_cdecl("speediff_trainer_network") @implementation
public func speediff_trainer_network(
  _ trainer: OpaquePointer!, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus { try NetworkHandle.create(out) { try TrainerHandle.value(trainer, "trainer").network } }
}

/// The caller's values by their names.
private func namedValues(
  _ names: UnsafePointer<UnsafePointer<CChar>?>?, _ values: UnsafePointer<Double>?, _ count: Int64
) throws -> [(name: String, value: Double)] {
  guard (0...1000).contains(count) else { throw ArgumentError("count", "must be in [0, 1000]", got: count) }
  guard count > 0 else { return [] }
  let (names, values) = try (unwrap(names, "names"), unwrap(values, "values"))
  return try (0..<Int(count)).map { (String(cString: try unwrap(names[$0], "names[\($0)]")), values[$0]) }
}

/// A text that lives as long as the process.
private func permanent(_ text: String) -> UnsafePointer<CChar> {
  let bytes = Array(text.utf8CString)
  let memory = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
  memory.initialize(from: bytes, count: bytes.count)
  return UnsafePointer(memory)
}

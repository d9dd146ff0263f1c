import ArgumentErrors

/// The configuration of a family of networks: what its values are stored in.
public protocol NetworkConfiguration: Sendable {
  /// The defaults.
  init()
  /// The values by their names.
  static var fields: [NetworkField<Self>] { get }
  /// Builds the network.
  ///
  /// - Throws: `ArgumentError` unless it can be built.
  func network() throws -> any DiffusionNetwork
}

extension NetworkConfiguration {
  /// The values, in the order of `fields`.
  public var values: [(name: String, value: Double)] { Self.fields.map { ($0.name, $0.get(self)) } }
}

/// What the values of a network can be.
public enum NetworkValueKind: Sendable {
  case integer, real, flag
}

/// A named value of a network's configuration.
public struct NetworkField<Configuration>: Sendable {
  /// Its name, as in the official network's arguments.
  public let name: String
  /// What it can be.
  public let kind: NetworkValueKind
  /// Whether it must be given.
  public let isRequired: Bool
  let get: @Sendable (Configuration) -> Double
  let set: @Sendable (inout Configuration, Double) throws -> Void

  /// A whole number.
  public static func integer(
    _ name: String, _ path: any WritableKeyPath<Configuration, Int> & Sendable, isRequired: Bool = false
  ) -> Self {
    Self(name: name, kind: .integer, isRequired: isRequired) {
      Double($0[keyPath: path])
    } set: { configuration, value in
      guard let whole = Int(exactly: value) else { throw ArgumentError(name, "must be a whole number", got: value) }
      configuration[keyPath: path] = whole
    }
  }

  /// A number.
  public static func real(
    _ name: String, _ path: any WritableKeyPath<Configuration, Double> & Sendable, isRequired: Bool = false
  ) -> Self {
    Self(name: name, kind: .real, isRequired: isRequired) {
      $0[keyPath: path]
    } set: {
      $0[keyPath: path] = $1
    }
  }

  /// 0 or 1.
  public static func flag(
    _ name: String, _ path: any WritableKeyPath<Configuration, Bool> & Sendable, isRequired: Bool = false
  ) -> Self {
    Self(name: name, kind: .flag, isRequired: isRequired) {
      $0[keyPath: path] ? 1 : 0
    } set: { configuration, value in
      guard value == 0 || value == 1 else {
        throw ArgumentError(name, "must be 0 or 1", got: text(of: value, .real))
      }
      configuration[keyPath: path] = value == 1
    }
  }

  /// The field of a configuration that contains this one.
  public func within<Whole>(_ path: any WritableKeyPath<Whole, Configuration> & Sendable) -> NetworkField<Whole> {
    NetworkField<Whole>(name: name, kind: kind, isRequired: isRequired) { [get] in
      get($0[keyPath: path])
    } set: { [set] in
      try set(&$0[keyPath: path], $1)
    }
  }
}

/// A value as it stands in messages and checkpoints.
public func text(of value: Double, _ kind: NetworkValueKind) -> String {
  switch kind {
  case .integer: Int(exactly: value).map { "\($0)" } ?? "\(value)"
  case .real: "\(value)"
  case .flag: value == 1 ? "true" : "false"
  }
}

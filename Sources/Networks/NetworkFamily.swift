import ArgumentErrors

/// A network's family and values, from which it can be made again.
public struct NetworkDescription: Sendable {
  /// The family's name.
  public let family: String
  /// All values.
  public let values: [(name: String, value: Double)]

  /// Describes a network by its configuration.
  public init(family: String, _ configuration: some NetworkConfiguration) {
    (self.family, values) = (family, configuration.values)
  }
}

/// Networks of one architecture, made from named values.
public struct NetworkFamily: Sendable {
  /// A named value of its networks.
  public struct Value: Sendable {
    /// Its name.
    public let name: String
    /// What it can be.
    public let kind: NetworkValueKind
    /// What stands for it if it is not given; nil: it must be given.
    public let standard: Double?
  }

  /// Its name.
  public let name: String
  /// The values of its networks.
  public let values: [Value]
  /// Its official networks, in one or more series.
  public let official: [OfficialSeries]
  /// How checkpoints of version 0.1.0 name its values; nil: they do not have it.
  public let formerKeys: FormerKeys?
  private let build: @Sendable ([(name: String, value: Double)]) throws -> any DiffusionNetwork

  /// Describes a family by the configuration of its networks.
  public init<Configuration: NetworkConfiguration>(
    _ name: String, _: Configuration.Type, official: [OfficialSeries] = [], formerKeys: FormerKeys? = nil
  ) {
    let standard = Configuration()
    self.name = name
    values = Configuration.fields.map {
      Value(name: $0.name, kind: $0.kind, standard: $0.isRequired ? nil : $0.get(standard))
    }
    self.official = official
    self.formerKeys = formerKeys
    build = { given in
      var configuration = Configuration()
      for (name, value) in given {
        try Configuration.fields.first { $0.name == name }?.set(&configuration, value)
      }
      return try configuration.network()
    }
  }

  /// Makes a network.
  ///
  /// - Parameter given: values by their names, which are those of the official networks' arguments; the others have their
  ///   defaults.
  /// - Throws: `ArgumentError`, which lists the family's values, for a value that is unknown, missing or given twice; for one
  ///   that is out of range.
  public func make(_ given: [(name: String, value: Double)]) throws -> any DiffusionNetwork {
    do {
      try check(given)
      return try build(given)
    } catch let error as ArgumentError {
      // As the caller wrote them.
      throw error.inC
    }
  }

  /// Checks which values are given.
  private func check(_ given: [(name: String, value: Double)]) throws {
    var names: Set<String> = []
    for (name, _) in given {
      guard values.contains(where: { $0.name == name }) else {
        throw ArgumentError(name, "must be a value of \(listing)", got: "an unknown name")
      }
      guard names.insert(name).inserted else { throw ArgumentError(name, "must be given once", got: "several") }
    }
    for value in values where value.standard == nil && !names.contains(value.name) {
      throw ArgumentError(value.name, "must be given to \(listing)", got: "none")
    }
  }

  /// The name, and the values with their defaults.
  private var listing: String {
    let texts = values.map { value in
      value.name + (value.standard.map { " = " + text(of: $0, value.kind) } ?? " (required)")
    }
    return "\(name) (\(texts.joined(separator: ", ")))"
  }
}

/// Official networks of a family whose names begin alike.
public struct OfficialSeries: Sendable {
  /// The values of each network by its name.
  public let networks: [(name: String, values: [(name: String, value: Double)])]

  /// Lists the networks.
  public init(_ networks: [(name: String, values: [(name: String, value: Double)])]) { self.networks = networks }
}

/// How checkpoints of version 0.1.0 name the values of a family.
public struct FormerKeys: Sendable {
  /// The key of a value.
  public let key: @Sendable (_ name: String) -> String
  /// The key of which the presence shows the family.
  public let mark: String
  /// The values that may be absent, and what that means.
  public let absent: [String: Double]

  /// Describes the keys.
  public init(mark: String, absent: [String: Double], key: @escaping @Sendable (_ name: String) -> String) {
    (self.mark, self.absent, self.key) = (mark, absent, key)
  }
}

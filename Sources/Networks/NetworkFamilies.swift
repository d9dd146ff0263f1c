import ArgumentErrors

/// The families of networks, a line each.
public enum NetworkFamilies {
  /// All of them. Where checkpoints of version 0.1.0 have the marks of several, the last one counts.
  public static let all: [NetworkFamily] = [
    DiT.family,
    MDT.family,
  ]

  fileprivate static func find(_ name: String) throws -> NetworkFamily {
    guard let family = all.first(where: { $0.name == name }) else {
      throw ArgumentError("family", "must be one of \(all.map(\.name).joined(separator: ", "))", got: name)
    }
    return family
  }

  /// Makes an official network.
  ///
  /// - Parameters:
  ///   - name: such as "DiT-S/2".
  ///   - given: further values, which precede the official ones.
  /// - Throws: `ArgumentError`, which suggests the nearest name; for a value that is wrong.
  public static func official(
    _ name: String, _ given: [(name: String, value: Double)] = []
  ) throws -> any DiffusionNetwork {
    for family in all {
      for network in family.official.flatMap(\.networks) where network.name == name {
        let others = network.values.filter { value in !given.contains { $0.name == value.name } }
        return try family.make(others + given)
      }
    }
    let series = all.flatMap(\.official).map { $0.networks.map(\.name) }
    let ranges = series.map { "\($0[0]) to \($0[$0.count - 1])" }
    // The list above is not empty.
    let nearest = series.joined().min { distance($0, name) < distance($1, name) } ?? ""
    throw ArgumentError(
      "model", "must be an official network, \(ranges.joined(separator: ", ")) (did you mean \(nearest)?)", got: name)
  }
}

extension NetworkFamily {
  /// Finds a family.
  ///
  /// - Parameter name: one of the names of `NetworkFamilies.all`.
  /// - Throws: `ArgumentError`, which lists the names.
  public init(named name: String) throws { self = try NetworkFamilies.find(name) }
}

/// The edit distance of two words, regardless of case.
private func distance(_ a: String, _ b: String) -> Int {
  let (a, b) = (Array(a.lowercased().prefix(64)), Array(b.lowercased().prefix(64)))
  var row = Array(0...b.count)
  for (i, letter) in a.enumerated() {
    var diagonal = row[0]
    row[0] = i + 1
    for (j, other) in b.enumerated() {
      (diagonal, row[j + 1]) = (
        row[j + 1], min(row[j + 1] + 1, row[j] + 1, diagonal + (letter == other ? 0 : 1))
      )
    }
  }
  return row[b.count]
}

import NoiseSchedules

/// What samplings and weightings share: they may be made of others.
public protocol TrainingMethod: Sendable {
  /// How many methods this one is made of, itself included.
  var parts: Int { get }
}

extension TrainingMethod {
  /// Itself alone.
  public var parts: Int { 1 }
}

/// The most methods that one may be made of. Deeper nests would exhaust the stack; wider ones would take too long.
private let maximumParts = 256

/// The number of parts of a combination, itself included.
///
/// - Throws: `ArgumentError` if there are too many.
func combinedParts(_ argument: String, _ parts: Int...) throws -> Int {
  let sum = parts.reduce(1, +)
  guard sum <= maximumParts else {
    throw ArgumentError(argument, "must be made of at most \(maximumParts - 1) methods", got: sum - 1)
  }
  return sum
}

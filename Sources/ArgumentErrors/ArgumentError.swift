/// A caller's mistake: which argument, the rule it breaks, and the value that was given.
///
/// Its description is one sentence, such as `k must be at least 1, got 0.5`. C and Python callers see it as the message.
public struct ArgumentError: Error, Equatable, CustomStringConvertible {
  /// The name of the argument, as the caller wrote it.
  public let argument: String
  /// The rule for the argument, starting with a verb: `must be at least 1`.
  public let rule: String
  /// The value that was given, followed by advice if there is any.
  public let value: String

  /// Describes a mistake.
  public init(_ argument: String, _ rule: String, got value: some CustomStringConvertible) {
    self.argument = argument
    self.rule = rule
    self.value = value.description
  }

  /// The sentence `argument rule, got value`.
  public var description: String { "\(argument) \(rule), got \(value)" }
}

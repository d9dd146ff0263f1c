/// A caller's mistake: which argument, the rule it breaks, and the value that was given.
///
/// Its description is one sentence, such as `k must be at least 1, got 0.5`. The library throws it with the names of its C
/// interface. A Swift caller reads Swift's labels, a C caller `inC`.
public struct ArgumentError: Error, Equatable, CustomStringConvertible {
  /// The value that was given, followed by advice if there is any.
  public let value: String
  private let nameInC: String
  private let ruleInC: String
  private var isInC = false

  /// Describes a mistake.
  ///
  /// - Parameters:
  ///   - argument: the name of the argument, as C has it.
  ///   - rule: the rule for the argument, starting with a verb: `must be at least 1`.
  ///   - value: the value that was given.
  public init(_ argument: String, _ rule: String, got value: some CustomStringConvertible) {
    (nameInC, ruleInC) = (argument, rule)
    self.value = value.description
  }

  /// The name of the argument, as the caller wrote it.
  public var argument: String { isInC ? nameInC : argumentInSwift(nameInC) }
  /// The rule for the argument, starting with a verb: `must be at least 1`.
  public var rule: String { isInC ? ruleInC : namesInSwift(ruleInC) }

  /// The sentence `argument rule, got value`.
  public var description: String { "\(argument) \(rule), got \(value)" }

  /// The same mistake with the names of C. Files, and networks that are made from named values, have them too.
  public var inC: ArgumentError {
    var error = self
    error.isInC = true
    return error
  }
}

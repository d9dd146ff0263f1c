import CSpeeDiff
import NoiseSchedules
import TimestepSampling

/// The methods that are made from a name and numbers.
struct MethodCatalogue<Method: Sendable>: Sendable {
  /// How one method is made.
  struct Entry: Sendable {
    let name: StaticString
    /// The values of parameters that are not given; NaN where the default depends on the schedule.
    let defaults: [Double]
    let make: @Sendable ([Double]) throws -> Method

    init(_ name: StaticString, _ defaults: [Double] = [], make: @escaping @Sendable ([Double]) throws -> Method) {
      self.name = name
      self.defaults = defaults
      self.make = make
    }
  }

  private let entries: [Entry]
  /// The names, separated by spaces. Lives as long as the process.
  nonisolated(unsafe) let names: UnsafePointer<CChar>

  init(_ entries: [Entry]) {
    self.entries = entries
    let text = Array(entries.map(\.name.description).joined(separator: " ").utf8CString)
    let memory = UnsafeMutablePointer<CChar>.allocate(capacity: text.count)
    memory.initialize(from: text, count: text.count)
    names = UnsafePointer(memory)
  }

  /// Makes a method from what C gives.
  func make(
    _ name: UnsafePointer<CChar>?, _ parameters: UnsafePointer<Double>?, _ count: Int64
  ) throws -> Method {
    let name = try String(cString: unwrap(name, "name"))
    guard let entry = entries.first(where: { $0.name.description == name }) else {
      throw ArgumentError("name", "must be one of \(String(cString: names))", got: name)
    }
    guard count >= 0, count <= entry.defaults.count else {
      throw ArgumentError("count", "must be in [0, \(entry.defaults.count)] for \(name)", got: count)
    }
    var values = entry.defaults
    if count > 0 {
      let given = try UnsafeBufferPointer(start: unwrap(parameters, "parameters"), count: Int(count))
      values.replaceSubrange(0..<given.count, with: given)
    }
    return try entry.make(values)
  }
}

/// A parameter that must be a whole number.
func integer(_ argument: String, _ value: Double) throws -> Int {
  guard let integer = Int(exactly: value) else { throw ArgumentError(argument, "must be a whole number", got: value) }
  return integer
}

/// A parameter for which NaN stands for a default that depends on the schedule.
func optional(_ value: Double) -> Double? { value.isNaN ? nil : value }

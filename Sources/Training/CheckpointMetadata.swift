import Kernels
import Safetensors

/// The metadata of a checkpoint, parsed.
struct CheckpointMetadata {
  private let values: SafetensorsMetadata
  let path: String

  init(_ values: SafetensorsMetadata, path: String) {
    self.values = values
    self.path = path
  }

  var keys: [String] { values.keys }

  func has(_ key: String) -> Bool { values[key] != nil }

  func text(_ key: String) throws -> String {
    guard let value = values[key] else {
      throw SafetensorsError.contents(
        path: path, rule: "must be a SpeeDiff checkpoint with \(key) in its metadata", got: "none")
    }
    return value
  }

  func integer(_ key: String) throws -> Int { try value(key, "an integer") { Int($0) } }

  func natural(_ key: String) throws -> UInt64 { try value(key, "an integer of at least 0") { UInt64($0) } }

  func real(_ key: String) throws -> Double { try value(key, "a number") { Double($0) } }

  func flag(_ key: String) throws -> Bool { try value(key, "true or false") { Bool($0) } }

  func precision(_ key: String) throws -> Precision {
    try value(key, Precision.allCases.map(\.rawValue).joined(separator: " or ")) { Precision(rawValue: $0) }
  }

  private func value<Value>(_ key: String, _ kind: String, _ parse: (String) -> Value?) throws -> Value {
    let text = try text(key)
    guard let value = parse(text) else {
      throw SafetensorsError.contents(
        path: path, rule: "must have \(kind) as \(key) in its metadata", got: String(text.prefix(40)))
    }
    return value
  }
}

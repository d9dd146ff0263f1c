/// The texts by key that a file has beside its tensors.
///
/// Not a `Dictionary` with `String` keys: comparing hostile strings as text takes quadratic time.
public struct SafetensorsMetadata: Sendable {
  /// The keys, in the order of the file, each once.
  public private(set) var keys: [String] = []

  private var values: [ExactName: String] = [:]

  /// The text of a key; nil if there is none. Keys are equal if their bytes are equal.
  public subscript(key: String) -> String? { values[ExactName(key)] }

  /// Adds a key, and returns whether it is new.
  mutating func insert(_ key: String, _ value: String) -> Bool {
    guard values.updateValue(value, forKey: ExactName(key)) == nil else { return false }
    keys.append(key)
    return true
  }
}

/// A name that is compared by its bytes. A `String` also equals other spellings of the same text, and comparing it takes
/// quadratic time if it has many combining marks.
struct ExactName: Hashable, ExpressibleByStringLiteral {
  let text: String

  init(_ text: String) { self.text = text }

  init(stringLiteral text: String) { self.text = text }

  static func == (a: Self, b: Self) -> Bool { a.text.utf8.elementsEqual(b.text.utf8) }

  func hash(into hasher: inout Hasher) {
    // A native string is hashed in place, in one piece.
    var text = text
    text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
  }

  /// Whether it comes before another in the order of bytes, which is the order in files.
  func precedes(_ other: Self) -> Bool { text.utf8.lexicographicallyPrecedes(other.text.utf8) }
}

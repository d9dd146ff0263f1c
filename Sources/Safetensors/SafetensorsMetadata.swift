/// The texts that a file has beside its tensors, by key.
///
/// Not a `Dictionary`, because a `String` as its key is compared as text, which for a hostile one takes quadratic time.
public struct SafetensorsMetadata: Sendable {
  /// The keys, in the order of the file, each once.
  public private(set) var keys: [String] = []

  private var values: [ExactName: String] = [:]

  /// The text of a key, nil if it has none. Keys are equal if their bytes are.
  public subscript(key: String) -> String? { values[ExactName(key)] }

  /// Adds a key, and says whether it is new.
  mutating func insert(_ key: String, _ value: String) -> Bool {
    guard values.updateValue(value, forKey: ExactName(key)) == nil else { return false }
    keys.append(key)
    return true
  }
}

/// A name that is equal to another if its bytes are. A `String` is also equal to other spellings of the same text, and to
/// find out takes quadratic time if it has many combining marks.
struct ExactName: Hashable, ExpressibleByStringLiteral {
  let text: String

  init(_ text: String) { self.text = text }

  init(stringLiteral text: String) { self.text = text }

  static func == (a: Self, b: Self) -> Bool { a.text.utf8.elementsEqual(b.text.utf8) }

  func hash(into hasher: inout Hasher) {
    // A native string is hashed where it lies, in one piece.
    var text = text
    text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
  }

  /// Whether the bytes come before those of another, which is the order of files.
  func precedes(_ other: Self) -> Bool { text.utf8.lexicographicallyPrecedes(other.text.utf8) }
}

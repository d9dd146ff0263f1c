#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Why a file could not be read or written, in one sentence: the rule, and what was found.
public enum SafetensorsError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The system refused: `code` is its errno.
  case system(path: String, rule: String, code: Int32)
  /// The file can be read, but is cut, damaged, of another kind, or lacks what was requested.
  case contents(path: String, rule: String, got: String)
  /// An argument of the caller cannot be written, or read into.
  case argument(_ argument: String, rule: String, got: String)

  /// "run.safetensors must be writable, got No space left on device (errno 28)".
  public var description: String {
    switch self {
    case .system(let path, let rule, let code):
      "\(path) \(rule), got \(String(cString: strerror(code))) (errno \(code))"
    case .contents(let path, let rule, let got): "\(path) \(rule), got \(got)"
    case .argument(let argument, let rule, let got): "\(argument) \(rule), got \(got)"
    }
  }

  /// The error of the last system call.
  static func system(_ path: String, _ rule: String) -> Self { .system(path: path, rule: rule, code: errno) }
}

/// A text for messages: quoted, escaped, and cut if it is long.
func quoted(_ text: String) -> String {
  let scalars = text.unicodeScalars
  var result = "\""
  for scalar in scalars.prefix(60) { result += scalar.escaped(asASCII: false) }
  return result + (scalars.dropFirst(60).isEmpty ? "\"" : "…\"")
}

/// A shape for messages, cut if it is long.
func described(_ shape: [Int]) -> String {
  shape.count <= 8 ? "\(shape)" : "\(shape.count) dimensions"
}

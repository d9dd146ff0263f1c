import ArgumentErrors

/// An error of a trainer that no single argument causes.
public enum TrainingError: Error, Equatable, CustomStringConvertible {
  /// Another thread is using it.
  case busy
  /// It was made before fork(); the child has none of its threads.
  case forked
  /// A loss, a gradient or a number to save is not finite; nothing was applied or written.
  case notFinite(String)
  /// The progress callback of a generation asked it to stop.
  case cancelled

  /// The rule that was broken, and what was found.
  public var description: String {
    namesInSwift(messageInC)
  }

  /// The same with the names of C.
  public var messageInC: String {
    switch self {
    case .busy: "trainer must be used by one thread at a time, got a call while another one is running"
    case .forked: "trainer must be used in the process that made it, got a call after fork(); make it in the child"
    case .notFinite(let message): message
    case .cancelled: "progress must not return 0 before the images are finished, got 0"
    }
  }
}

/// What goes wrong with a trainer that no single argument is to blame for.
public enum TrainingError: Error, Equatable, CustomStringConvertible {
  /// Another thread is using it.
  case busy
  /// It was made before fork(), whose child has none of its threads.
  case forked
  /// A loss or gradient is not finite; nothing was applied.
  case notFinite(String)
  /// Whoever watched a generation asked it to stop.
  case cancelled

  /// What must hold, and what was found.
  public var description: String {
    switch self {
    case .busy: "trainer must be used by one thread at a time, got a call while another one is running"
    case .forked: "trainer must be used in the process that made it, got a call after fork(); make it in the child"
    case .notFinite(let message): message
    case .cancelled: "progress must not return 0 for the images to be finished, got 0"
    }
  }
}

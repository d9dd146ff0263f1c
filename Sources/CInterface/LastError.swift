#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// This thread's message about its last failed call.
enum LastError {
  /// The storage is C's own, because Swift has no thread-local variables; it is freed when the thread ends.
  private static let key: pthread_key_t = {
    var key = pthread_key_t()
    pthread_key_create(&key) { free($0) }
    return key
  }()

  /// A literal's memory lives as long as the library.
  private static let none: StaticString = ""

  /// The message as a C string, empty if no call has failed on this thread.
  static var message: UnsafePointer<CChar> {
    guard let stored = pthread_getspecific(key) else {
      return UnsafeRawPointer(none.utf8Start).assumingMemoryBound(to: CChar.self)
    }
    return UnsafePointer(stored.assumingMemoryBound(to: CChar.self))
  }

  /// Replaces the message.
  static func set(_ message: String) {
    free(pthread_getspecific(key))
    pthread_setspecific(key, strdup(message))
  }
}

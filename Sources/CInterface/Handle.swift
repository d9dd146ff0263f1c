/// Gives C an opaque pointer that keeps a Swift value alive until `Handle.destroy`.
///
/// A value that holds others keeps them alive, so C may destroy handles in any order.
final class Handle<Value> {
  private let value: Value

  private init(_ value: Value) { self.value = value }

  /// Makes a value and stores its handle in `*out`. On failure nothing is written.
  static func create(_ out: UnsafeMutablePointer<OpaquePointer?>?, _ make: () throws -> Value) throws {
    let out = try unwrap(out, "out")
    let handle = try Handle(make())
    out.pointee = OpaquePointer(Unmanaged.passRetained(handle).toOpaque())
  }

  /// Frees a handle; NULL is allowed.
  static func destroy(_ pointer: OpaquePointer?) {
    if let pointer { Unmanaged<Handle>.fromOpaque(UnsafeRawPointer(pointer)).release() }
  }

  /// The value behind a handle.
  static func value(_ pointer: OpaquePointer?, _ argument: String) throws -> Value {
    let pointer = try unwrap(pointer, argument)
    return Unmanaged<Handle>.fromOpaque(UnsafeRawPointer(pointer)).takeUnretainedValue().value
  }
}

/// The pointer, or an error that names the argument.
func unwrap<Pointer>(_ pointer: Pointer?, _ argument: String) throws -> Pointer {
  guard let pointer else { throw NullPointerError(argument: argument) }
  return pointer
}

/// Copies a table to the caller's array, whose length must be the table's.
func copy(_ table: [Double], to out: UnsafeMutablePointer<Double>?, count: Int64) throws {
  guard count == table.count else { throw WrongCountError(argument: "count", expected: table.count, count: count) }
  guard count > 0 else { return }
  try unwrap(out, "out").update(from: table, count: table.count)
}

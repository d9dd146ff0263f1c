import ArgumentErrors

/// A structure that later versions of the header may lengthen: its first field is its size, as the caller's header has it.
///
/// - Parameters:
///   - pointer: the caller's structure, of which no more than its size is read.
///   - least: the size in the first header that had this field, on 64 bits: both structures had 96 bytes in ABI 4. What is
///     added starts after these, since callers leave the padding at their end as it is.
///   - standard: what stands for fields that the caller's header does not have.
/// - Throws: `ArgumentError` if the size is too small, or if fields that this library does not know are not 0.
func grown<Structure>(
  _ pointer: UnsafePointer<Structure>?, _ argument: String, least: Int = 96,
  standard: Structure
) throws -> Structure {
  let bytes = UnsafeRawPointer(try unwrap(pointer, argument))
  let size = bytes.load(as: Int.self)
  // No header will have a structure of 64 KiB.
  guard size >= least, size <= 1 << 16 else {
    throw ArgumentError(
      "\(argument).size", "must be the size of the structure, at least \(least), as its _DEFAULT sets it", got: size)
  }
  let known = MemoryLayout<Structure>.size
  for i in min(size, known)..<size where bytes.load(fromByteOffset: i, as: UInt8.self) != 0 {
    throw ArgumentError(
      "\(argument).size", "must be at most \(known) unless the fields beyond are 0: this library does not know them",
      got: size)
  }
  var result = standard
  let given = UnsafeRawBufferPointer(start: bytes, count: min(size, known))
  withUnsafeMutableBytes(of: &result) { $0.copyMemory(from: given) }
  return result
}

/// Writes a growing structure as far as the caller's header has it, and its size there.
///
/// - Throws: `ArgumentError` if the size is less than in the first header that had this field.
func writeGrown<Structure>(
  _ value: Structure, to out: UnsafeMutablePointer<Structure>, size: Int, least: Int = 96
) throws {
  guard size >= least else {
    throw ArgumentError("size", "must be the size of the structure, at least \(least)", got: size)
  }
  let bytes = min(size, MemoryLayout<Structure>.size)
  let target = UnsafeMutableRawBufferPointer(start: out, count: bytes)
  withUnsafeBytes(of: value) { target.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[..<bytes])) }
  target.storeBytes(of: bytes, as: Int.self)
}

/// The type of a tensor's elements, little-endian.
public enum TensorDType: String, CaseIterable, Sendable {
  /// IEEE 754 double precision.
  case f64 = "F64"
  /// IEEE 754 single precision.
  case f32 = "F32"
  /// IEEE 754 half precision.
  case f16 = "F16"
  /// The upper half of a single.
  case bf16 = "BF16"
  /// Signed, 64 bits.
  case i64 = "I64"
  /// Signed, 32 bits.
  case i32 = "I32"
  /// Signed, 16 bits.
  case i16 = "I16"
  /// Signed, 8 bits.
  case i8 = "I8"
  /// Unsigned, 64 bits.
  case u64 = "U64"
  /// Unsigned, 32 bits.
  case u32 = "U32"
  /// Unsigned, 16 bits.
  case u16 = "U16"
  /// Unsigned, 8 bits.
  case u8 = "U8"
  /// A byte, 0 or 1. The meaning of other values is up to the reader.
  case bool = "BOOL"

  /// How many bytes an element takes.
  public var size: Int {
    switch self {
    case .f64, .i64, .u64: 8
    case .f32, .i32, .u32: 4
    case .f16, .bf16, .i16, .u16: 2
    case .i8, .u8, .bool: 1
    }
  }

  /// The position of the type in a file, the largest first, as in the reference implementation.
  var rank: Int { Self.fileOrder.firstIndex(of: self)! }

  private static let fileOrder: [Self] = [
    .u64, .i64, .f64, .f32, .u32, .i32, .bf16, .f16, .u16, .i16, .i8, .u8, .bool,
  ]

  /// How many bytes a tensor takes.
  ///
  /// - Returns: nil if a dimension is negative, or if the product of the nonzero ones in bytes is above `Int.max`.
  func byteCount(shape: [Int]) -> Int? {
    var (bytes, isEmpty) = (size, false)
    for dimension in shape {
      guard dimension >= 0 else { return nil }
      if dimension == 0 {
        isEmpty = true
        continue
      }
      let (product, overflow) = bytes.multipliedReportingOverflow(by: dimension)
      guard !overflow else { return nil }
      bytes = product
    }
    return isEmpty ? 0 : bytes
  }
}

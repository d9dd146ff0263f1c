/// A tensor's entry in the header.
public struct TensorInfo: Sendable, Equatable {
  /// The name, unique in its file.
  public let name: String
  /// The type of its elements.
  public let dtype: TensorDType
  /// The dimensions, slowest first; none for a scalar.
  public let shape: [Int]
  /// Its bytes, counted from the start of the data.
  let range: Range<Int>

  /// How many bytes it takes.
  public var byteCount: Int { range.count }
}

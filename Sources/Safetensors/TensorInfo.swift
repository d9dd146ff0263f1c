/// What the header says of a tensor.
public struct TensorInfo: Sendable, Equatable {
  /// The name, unique in its file.
  public let name: String
  /// The type of its elements.
  public let dtype: TensorDType
  /// The dimensions, slowest first; none for a scalar.
  public let shape: [Int]
  /// Where it is, from the first byte of data.
  let range: Range<Int>

  /// How many bytes it takes.
  public var byteCount: Int { range.count }
}

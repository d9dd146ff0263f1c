/// A tensor of a network's state dict that is not trained.
public struct FixedTensor: Sendable {
  /// The name in the state dict.
  public let name: String
  /// The shape in the state dict.
  public let shape: [Int]
  /// Its first float in the memory of all fixed tensors.
  public let offset: Int
  /// Writes its values.
  public let write: @Sendable (UnsafeMutablePointer<Float>) -> Void

  /// The number of floats.
  public var count: Int { shape.reduce(1, *) }
  /// The columns of the tensor as a matrix: its last dimension.
  public var columns: Int { shape.last ?? 1 }
}

/// The fixed tensors of a network, and the place of each in the memory of all.
public struct FixedTensorList: Sendable {
  /// All fixed tensors.
  public private(set) var tensors: [FixedTensor] = []
  /// The floats of the memory, gaps included.
  public var count: Int { tensors.last.map { $0.offset + $0.count } ?? 0 }

  /// No fixed tensors.
  public init() {}

  /// Adds a tensor, which starts at a multiple of 64 bytes.
  mutating func add(_ name: String, _ shape: [Int], write: @escaping @Sendable (UnsafeMutablePointer<Float>) -> Void) {
    tensors.append(FixedTensor(name: name, shape: shape, offset: (count + 15) / 16 * 16, write: write))
  }
}

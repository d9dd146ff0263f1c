/// A trained tensor of a network, named and shaped as in the PyTorch network's state dict.
public struct Parameter: Sendable {
  /// The name in the state dict.
  public let name: String
  /// The shape in the state dict.
  public let shape: [Int]
  /// Its initial values.
  public let initialization: Initialization
  /// Its first float in the memory of all parameters.
  public let offset: Int

  /// The number of floats.
  public var count: Int { shape.reduce(1, *) }
  /// The rows of the parameter as a matrix: its first dimension.
  var rows: Int { shape.count > 1 ? shape[0] : 1 }
  /// The columns of the parameter as a matrix: all other dimensions together.
  var columns: Int { count / rows }
}

/// The initial values of a parameter.
public enum Initialization: Sendable, Equatable {
  case zero
  /// Uniform within ±√(6/(inputs + outputs)). Glorot and Bengio 2010, Eq. 16.
  case xavierUniform(inputs: Int, outputs: Int)
  /// Normal with variance 2/(inputs + outputs). Glorot and Bengio 2010, Eq. 12.
  case xavierNormal(inputs: Int, outputs: Int)
  /// Uniform within ±√(6/inputs), for layers before a ReLU. He et al. 2015, Eq. 10.
  case kaimingUniform(inputs: Int)
  /// Normal with variance 2/inputs, for layers before a ReLU. He et al. 2015, Eq. 10.
  case kaimingNormal(inputs: Int)
  /// Normal with mean 0.
  case normal(standardDeviation: Float)
  /// The sine and cosine positions of a square grid.
  case sineCosinePositions(grid: Int)
}

/// The parameters of a network in the order of its state dict, and the place of each in the memory of all.
public struct ParameterList: Sendable {
  /// All parameters.
  public private(set) var parameters: [Parameter] = []
  /// The floats of the memory, gaps included.
  public private(set) var count = 0

  /// No parameters.
  public init() {}

  /// Adds a parameter. Each starts at a multiple of 64 bytes; the gaps are 0.
  mutating func add(_ name: String, _ shape: [Int], _ initialization: Initialization) -> Parameter {
    let parameter = Parameter(name: name, shape: shape, initialization: initialization, offset: count)
    parameters.append(parameter)
    count += (parameter.count + 15) / 16 * 16
    return parameter
  }
}

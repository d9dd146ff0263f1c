import Kernels

/// Whether the parameter gradients hold those of earlier micro-batches, to which the next run adds.
public final class Accumulation: @unchecked Sendable {
  /// False: the next run overwrites them.
  public var hasBegun = false

  /// No gradients yet.
  public init() {}
}

/// The memory of a network's parameters and their gradients.
public struct ParameterMemory {
  let parameters: UnsafeMutablePointer<Float>
  let gradients: UnsafeMutablePointer<Float>?
  let accumulation: Accumulation

  /// For inference only.
  public init(parameters: UnsafeMutablePointer<Float>) {
    self.parameters = parameters
    gradients = nil
    accumulation = Accumulation()
  }

  /// For training.
  public init(
    parameters: UnsafeMutablePointer<Float>, gradients: UnsafeMutablePointer<Float>, accumulation: Accumulation
  ) {
    self.parameters = parameters
    self.gradients = gradients
    self.accumulation = accumulation
  }
}

/// Gives the operations of a recorded network the memory of their tensors while they append to a program.
final class Memory {
  let threads: Int
  private let precision: Precision
  private let parameters: ParameterMemory
  /// The first thread's scratch memory.
  var scratch: UnsafeMutablePointer<Float>?
  private let scratchSize: Int
  private var values: [Tensor: Matrix] = [:]
  private var gradients: [Tensor: Matrix] = [:]
  private var begun: Set<Tensor> = []
  /// The offsets of the parameters whose gradients an earlier part of the same run has written.
  var begunBefore: Set<Int> = []
  /// The offsets of those whose gradients this part has written.
  private(set) var begunParameters: Set<Int> = []

  init(threads: Int, precision: Precision, parameters: ParameterMemory, scratchSize: Int) {
    self.threads = threads
    self.precision = precision
    self.parameters = parameters
    self.scratchSize = scratchSize
  }

  /// A tensor's value.
  subscript(_ tensor: Tensor) -> Matrix { view(of: tensor, in: values) }

  /// A parameter's value.
  subscript(_ parameter: Parameter) -> Matrix {
    Matrix(parameters.parameters + parameter.offset, columns: parameter.columns)
  }

  /// A layer's parameters for some rows, with the weight packed for the current direction if it is packed at all.
  subscript(_ layer: Linear, _ rows: Rows) -> LinearParameters {
    LinearParameters(
      weight: self[layer.weight], bias: self[layer.bias].base, precision(of: rows),
      packed: packedWeights[layer.weight.offset])
  }

  /// The precision of products with some rows on the left.
  func precision(of rows: Rows) -> Precision { rows.areTokens ? precision : .float32 }

  /// The gradient of an operation's output, or of a note.
  func gradient(ofOutput tensor: Tensor) -> Matrix { view(of: tensor, in: gradients) }

  /// Where an operation adds its part of an input's gradient; nil if it is not needed.
  func gradient(of tensor: Tensor) -> GradientTarget? {
    guard tensor.needsGradient else { return nil }
    return GradientTarget(view(of: tensor, in: gradients), accumulates: !begun.insert(tensor).inserted)
  }

  /// Where an operation adds its part of a parameter's gradient; called when the program runs.
  ///
  /// Operations defer this work. If another one has written the gradient before, the deferred work is run first.
  func gradient(of parameter: Parameter, _ program: inout Program) -> () -> GradientTarget {
    guard let base = parameters.gradients else { preconditionFailure("a network without gradients was run back") }
    let matrix = Matrix(base + parameter.offset, columns: parameter.columns)
    let isSecond = !begunParameters.insert(parameter.offset).inserted
    if isSecond { program.runDeferred() }
    let (accumulation, hasBegun) = (parameters.accumulation, isSecond || begunBefore.contains(parameter.offset))
    return { GradientTarget(matrix, accumulates: hasBegun || accumulation.hasBegun) }
  }

  /// A thread's scratch memory.
  func scratch(_ thread: Int) -> UnsafeMutablePointer<Float> {
    guard let scratch else { preconditionFailure("a plan is placed before it is used") }
    return scratch + thread * scratchSize
  }

  func place(_ tensor: Tensor, at base: UnsafeMutablePointer<Float>) {
    values[tensor] = Matrix(base, columns: tensor.columns, tensor.precision)
  }

  func placeGradient(of tensor: Tensor, at base: UnsafeMutablePointer<Float>) {
    gradients[tensor] = Matrix(base, columns: tensor.columns, tensor.gradientPrecision)
  }

  /// Records that a gradient was written without `gradient(of:)`.
  func begin(_ tensor: Tensor) { begun.insert(tensor) }

  func hasBegun(_ tensor: Tensor) -> Bool { begun.contains(tensor) }

  /// The packed weights of the current scope and direction, by the parameter's offset.
  var packedWeights: [Int: PackedFactor] = [:]

  /// The input of the current operation that shares its output's gradient, so that nothing needs to be computed.
  var passed: Tensor?

  private func view(of tensor: Tensor, in matrices: [Tensor: Matrix]) -> Matrix {
    guard let matrix = matrices[tensor.root] else { preconditionFailure("a tensor is used outside its lifetime") }
    return tensor.whole == nil ? matrix : matrix.columns(tensor.firstColumn..<tensor.firstColumn + tensor.columns)
  }
}

/// A layer y = x·Wᵀ + b.
public struct Linear: Sendable {
  /// Shape (outputs, inputs), or that of a convolution whose kernel is its stride: (outputs, channels, height, width).
  public let weight: Parameter
  /// Shape (outputs,).
  public let bias: Parameter

  var inputs: Int { weight.columns }
  var outputs: Int { weight.rows }

  /// Adds `name.weight` and `name.bias`.
  ///
  /// - Parameters:
  ///   - inputs: the inputs' shape.
  ///   - initialization: the weight's; nil: Xavier uniform. The bias starts at 0.
  init(
    _ name: String, _ inputs: [Int], _ outputs: Int, initialization: Initialization? = nil,
    in list: inout ParameterList
  ) {
    let xavier = Initialization.xavierUniform(inputs: inputs.reduce(1, *), outputs: outputs)
    weight = list.add("\(name).weight", [outputs] + inputs, initialization ?? xavier)
    bias = list.add("\(name).bias", [outputs], .zero)
  }
}

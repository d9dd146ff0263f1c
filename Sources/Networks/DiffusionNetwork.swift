import Kernels

/// A network that can be trained to denoise. It has parameters, and records its forward pass.
public protocol DiffusionNetwork: Sendable {
  /// Its shape.
  var configuration: NetworkConfiguration { get }
  /// Its parameters, in the order of its state dict.
  var parameters: ParameterList { get }
  /// The shape of the fixed positions in the state dict; nil if there are none.
  var fixedPositionShape: [Int]? { get }

  /// Writes the fixed positions.
  func writeFixedPositions(to base: UnsafeMutablePointer<Float>)

  /// Records the forward pass.
  ///
  /// - Parameters:
  ///   - fixedPositions: the fixed positions, in memory that outlives the program; nil if there are none.
  ///   - order: which tokens the encoder of a masked network gets; nil: all, as in generation.
  /// - Returns: the inputs, and the prediction (n, outputChannels·size·size).
  func record(
    _ tape: Recorder, fixedPositions: Matrix?, order: TokenOrder?
  ) -> (inputs: NetworkInputs, output: Tensor)
}

extension NetworkConfiguration {
  /// The network of this shape.
  ///
  /// - Throws: `ArgumentError` unless it can be built.
  public func network() throws -> any DiffusionNetwork {
    try check()
    return if let masking { MDT(self, masking) } else { DiT(self) }
  }
}

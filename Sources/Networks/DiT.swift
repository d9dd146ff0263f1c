import Kernels

/// The Diffusion Transformer with adaLN-Zero blocks, class labels and fixed sine-cosine positions.
///
/// Peebles and Xie, "Scalable Diffusion Models with Transformers", 2023. Parameters are named, shaped and initialized as
/// in the authors' PyTorch code, so that state dicts go both ways.
public final class DiT: Sendable {
  /// The network's shape.
  public let configuration: DiTConfiguration
  /// Its parameters, in the order of its state dict.
  public let parameters: ParameterList
  private let embedders: Embedders
  private let blocks: [TransformerBlock]
  private let finalLayer: FinalLayer

  /// Lays out the parameters.
  ///
  /// - Throws: `ArgumentError` unless the configuration can be built.
  public init(_ configuration: DiTConfiguration) throws {
    try configuration.check()
    var list = ParameterList()
    embedders = Embedders(configuration, in: &list)
    blocks = (0..<configuration.depth).map { TransformerBlock("blocks.\($0)", configuration, in: &list) }
    finalLayer = FinalLayer(configuration, in: &list)
    self.configuration = configuration
    parameters = list
  }

  /// The shape of the positions, which are part of the state dict and not trained: (1, tokens, hidden).
  public var positionShape: [Int] { [1, configuration.tokens, configuration.hiddenSize] }

  /// Writes the positions.
  public func writePositions(to base: UnsafeMutablePointer<Float>) {
    sineCosinePositions(grid: configuration.grid, into: Matrix(base, columns: configuration.hiddenSize))
  }

  /// Records the forward pass.
  ///
  /// - Parameter positions: this network's positions, in memory that outlives the program.
  /// - Returns: the inputs, and the prediction (n, outputChannels·size·size).
  public func record(_ tape: Recorder, positions: Matrix) -> (inputs: NetworkInputs, output: Tensor) {
    let (inputs, tokens) = embedders.recordTokens(tape)
    var x = tape.sum(tokens, table: positions)
    let c = embedders.recordConditioning(tape, inputs)
    for block in blocks {
      tape.beginScope()
      x = block.record(tape, x, c)
    }
    tape.beginScope()
    return (inputs, finalLayer.record(tape, x, c))
  }
}

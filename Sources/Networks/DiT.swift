import Kernels

/// The Diffusion Transformer with adaLN-Zero blocks, class labels and fixed sine-cosine positions.
///
/// Peebles and Xie, "Scalable Diffusion Models with Transformers", 2023. Parameters are named, shaped and initialized as
/// in the authors' PyTorch code, so state dicts can be exchanged in both directions.
final class DiT: DiffusionNetwork {
  /// The network's shape.
  let configuration: NetworkConfiguration
  /// Its parameters, in the order of its state dict.
  let parameters: ParameterList
  private let embedders: Embedders
  private let blocks: [TransformerBlock]
  private let finalLayer: FinalLayer

  /// Lays out the parameters of a checked configuration.
  init(_ configuration: NetworkConfiguration) {
    var list = ParameterList()
    embedders = Embedders(configuration, in: &list)
    blocks = (0..<configuration.depth).map { TransformerBlock("blocks.\($0)", configuration, in: &list) }
    finalLayer = FinalLayer(configuration, in: &list)
    self.configuration = configuration
    parameters = list
  }

  /// (1, tokens, hidden).
  var fixedPositionShape: [Int]? { [1, configuration.tokens, configuration.hiddenSize] }

  /// Writes sines and cosines.
  func writeFixedPositions(to base: UnsafeMutablePointer<Float>) {
    sineCosinePositions(grid: configuration.grid, into: Matrix(base, columns: configuration.hiddenSize))
  }

  /// Records the forward pass.
  func record(
    _ tape: Recorder, fixedPositions: Matrix?, order: TokenOrder?
  ) -> (inputs: NetworkInputs, output: Tensor) {
    guard let fixedPositions, order == nil else { preconditionFailure("a DiT has fixed positions and no masks") }
    let (inputs, tokens) = embedders.recordTokens(tape)
    var x = tape.sum(tokens, table: fixedPositions)
    let c = embedders.recordConditioning(tape, inputs)
    for block in blocks {
      tape.beginScope()
      x = block.record(tape, x, c)
    }
    tape.beginScope()
    return (inputs, finalLayer.record(tape, x, c))
  }
}

import Kernels

/// The Diffusion Transformer with adaLN-Zero blocks, class labels and fixed sine-cosine positions.
///
/// Peebles and Xie, "Scalable Diffusion Models with Transformers", 2023. Parameters are named, shaped and initialized as
/// in the authors' PyTorch code, so state dicts can be exchanged in both directions.
final class DiT: DiffusionNetwork {
  /// All DiTs.
  static let family = NetworkFamily(
    "dit", TransformerShape.self, official: [TransformerShape.official("DiT")],
    formerKeys: FormerKeys(mark: "dit.input_size", absent: ["frequency_shift": 0]) { "dit." + $0 })

  private let shape: TransformerShape
  /// "dit", and the values of its shape.
  let description: NetworkDescription
  /// Its parameters, in the order of its state dict.
  let parameters: ParameterList
  /// The positions: (1, tokens, hidden).
  let fixedTensors: FixedTensorList
  private let embedders: Embedders
  private let blocks: [TransformerBlock]
  private let finalLayer: FinalLayer

  /// Lays out the parameters of a checked shape.
  init(_ shape: TransformerShape) {
    var (list, fixed) = (ParameterList(), FixedTensorList())
    fixed.add("pos_embed", [1, shape.tokens, shape.hiddenSize]) { [grid = shape.grid, columns = shape.hiddenSize] in
      sineCosinePositions(grid: grid, into: Matrix($0, columns: columns))
    }
    embedders = Embedders(shape, in: &list)
    blocks = (0..<shape.depth).map { TransformerBlock("blocks.\($0)", shape, in: &list) }
    finalLayer = FinalLayer(shape, in: &list)
    self.shape = shape
    description = NetworkDescription(family: Self.family.name, shape)
    (parameters, fixedTensors) = (list, fixed)
  }

  /// The shape of its images.
  var image: ImageShape { shape.image }
  /// Labels, if it has classes.
  var conditioning: [ConditioningInput] { shape.labels.map { [.labels($0)] } ?? [] }

  /// Records the forward pass.
  func record(_ tape: Recorder, fixed: [Matrix], order: TokenOrder?) -> RecordedPass {
    let (inputs, tokens) = embedders.recordTokens(tape)
    var x = tape.sum(tokens, table: fixed[0])
    let c = embedders.recordConditioning(tape, inputs)
    for block in blocks {
      tape.beginScope()
      x = block.record(tape, x, c)
    }
    tape.beginScope()
    return RecordedPass(inputs: inputs, output: finalLayer.record(tape, x, c))
  }
}

extension TransformerShape: NetworkConfiguration {
  /// A DiT's is XL/2, on latents of 32 × 32 with 4 channels.
  public init() { self.init(inputSize: 32) }

  /// The DiT of this shape.
  public func network() throws -> any DiffusionNetwork {
    try check()
    return DiT(self)
  }
}

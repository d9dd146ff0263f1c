import Kernels
import TimestepSampling

/// The Masked Diffusion Transformer: a DiT with trained positions and a relative position bias, trained both with all tokens
/// and with some of them.
///
/// Gao et al., "Masked Diffusion Transformer is a Strong Image Synthesizer", 2023, and "MDTv2", 2024. Parameters are
/// named and shaped as in the authors' PyTorch code, so state dicts can be exchanged in both directions.
final class MDT: DiffusionNetwork {
  /// All MDTs.
  static let family = NetworkFamily(
    "mdt", MDTConfiguration.self,
    official: [("MDT", MDTMasking.paper), ("MDTv2", .secondVersion)].map { series, masking in
      TransformerShape.official(series, MDTConfiguration(masking: masking).maskingValues)
    },
    formerKeys: FormerKeys(mark: "mdt.version", absent: ["frequency_shift": 0, "min_snr_gamma": 0]) { name in
      (MDTConfiguration.maskingFields.contains { $0.name == name } ? "mdt." : "dit.") + name
    })

  private let shape: TransformerShape
  private let masking: MDTMasking
  /// "mdt", and the values of its configuration.
  let description: NetworkDescription
  /// Its parameters, in the order of its state dict.
  let parameters: ParameterList
  private let positions: Parameter
  private let decoderPositions: Parameter
  private let maskToken: Parameter
  private let embedders: Embedders
  /// Version 2: `en_inblocks`, then `en_outblocks`.
  private let encoder: [TransformerBlock]
  private let decoder: [TransformerBlock]
  private let side: TransformerBlock
  private let finalLayer: FinalLayer

  /// Min-SNR, if the authors' loss has it.
  let errorFactor: (any Weighting)?

  /// Lays out the parameters of a checked configuration.
  init(_ configuration: MDTConfiguration) throws {
    let (shape, masking) = (configuration.shape, configuration.masking)
    var list = ParameterList()
    let tokens = [1, shape.tokens, shape.hiddenSize]
    let sineCosine = Initialization.sineCosinePositions(grid: shape.grid)
    positions = list.add("pos_embed", tokens, sineCosine)
    decoderPositions = list.add("decoder_pos_embed", tokens, sineCosine)
    maskToken = list.add("mask_token", [1, 1, shape.hiddenSize], .normal(standardDeviation: 0.02))
    embedders = Embedders(shape, in: &list)
    func blocks(_ name: String, _ range: Range<Int>, hasSkip: Bool = false) -> [TransformerBlock] {
      range.map {
        TransformerBlock("\(name).\($0)", shape, hasPositionBias: true, hasSkip: hasSkip, in: &list)
      }
    }
    let (depth, decoded) = (shape.depth, masking.decoderDepth)
    switch masking.version {
    case .one:
      encoder = blocks("blocks", 0..<depth - decoded)
      decoder = blocks("blocks", depth - decoded..<depth)
    case .two:
      let half = (depth - decoded) / 2
      encoder = blocks("en_inblocks", 0..<half) + blocks("en_outblocks", 0..<half, hasSkip: true)
      decoder = blocks("de_blocks", 0..<decoded, hasSkip: true)
    }
    side = TransformerBlock("sideblocks.0", shape, hasPositionBias: true, in: &list)
    finalLayer = FinalLayer(shape, in: &list)
    (self.shape, self.masking) = (shape, masking)
    description = NetworkDescription(family: Self.family.name, configuration)
    errorFactor = try masking.minSNRGamma.map { try MinSNRWeighting(gamma: $0) }
    parameters = list
  }

  /// The shape of its images.
  var image: ImageShape { shape.image }
  /// Labels, if it has classes.
  var conditioning: [ConditioningInput] { shape.labels.map { [.labels($0)] } ?? [] }
  /// One with all tokens, and one in which the encoder gets some of them.
  var passes: [NetworkPass] { [.first, .second(hiding: masking.hidden(of: shape.tokens))] }

  /// Records the forward pass.
  func record(_ tape: Recorder, fixed: [Matrix], order: TokenOrder?) -> RecordedPass {
    let (inputs, tokens) = embedders.recordTokens(tape)
    let all = tape.sum(tokens, table: positions)
    let c = embedders.recordConditioning(tape, inputs)
    var x = order.map { tape.keep(all, $0) } ?? all
    var skips: [Tensor] = []
    for block in encoder {
      tape.beginScope()
      x = block.record(tape, x, c, skip: block.hasSkip ? skips.removeLast() : nil, order: order)
      if !block.hasSkip { skips.append(x) }
    }
    tape.beginScope()
    if let order {
      // The side-interpolater: a block predicts the tokens that the encoder did not get.
      let known = tape.sum(tape.restore(x, token: maskToken, order, rows: all.rows), table: decoderPositions)
      x = tape.choose(masked: side.record(tape, known, c), present: known, order)
    } else {
      x = tape.sum(x, table: decoderPositions)
    }
    for block in decoder {
      tape.beginScope()
      x = block.record(tape, x, c, skip: block.hasSkip ? all : nil)
    }
    tape.beginScope()
    return RecordedPass(inputs: inputs, output: finalLayer.record(tape, x, c))
  }
}

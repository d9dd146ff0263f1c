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
  private let xEmbedder: Linear
  private let tEmbedder: (Linear, Linear)
  private let yEmbedder: Parameter?
  private let blocks: [DiTBlock]
  private let finalModulation: Linear
  private let finalLinear: Linear

  /// The sinusoidal features of a time step.
  static let frequencies = 256

  /// Lays out the parameters.
  ///
  /// - Throws: `ArgumentError` unless the configuration can be built.
  public init(_ configuration: DiTConfiguration) throws {
    try configuration.check()
    let (hidden, patch) = (configuration.hiddenSize, configuration.patchSize)
    var list = ParameterList()
    let small = Initialization.normal(standardDeviation: 0.02)
    xEmbedder = Linear("x_embedder.proj", [configuration.channels, patch, patch], hidden, in: &list)
    tEmbedder = (
      Linear("t_embedder.mlp.0", [Self.frequencies], hidden, initialization: small, in: &list),
      Linear("t_embedder.mlp.2", [hidden], hidden, initialization: small, in: &list)
    )
    let entries = configuration.labelEntries
    yEmbedder = entries > 0 ? list.add("y_embedder.embedding_table.weight", [entries, hidden], small) : nil
    blocks = (0..<configuration.depth).map { DiTBlock("blocks.\($0)", configuration, in: &list) }
    finalLinear = Linear(
      "final_layer.linear", [hidden], patch * patch * configuration.outputChannels, initialization: .zero, in: &list)
    finalModulation = Linear(
      "final_layer.adaLN_modulation.1", [hidden], 2 * hidden, initialization: .zero, in: &list)
    self.configuration = configuration
    parameters = list
  }

  /// The shape of the positions, which are part of the state dict and not trained: (1, tokens, hidden).
  public var positionShape: [Int] {
    let grid = configuration.inputSize / configuration.patchSize
    return [1, grid * grid, configuration.hiddenSize]
  }

  /// Writes the positions.
  public func writePositions(to base: UnsafeMutablePointer<Float>) {
    sineCosinePositions(
      grid: configuration.inputSize / configuration.patchSize,
      into: Matrix(base, columns: configuration.hiddenSize))
  }

  /// What a run reads: images (n, channels·size·size), time steps (n, 1), which may be fractions, and labels.
  public struct Inputs {
    /// Shape (n, channels·size·size).
    public let images: Tensor
    /// Shape (n, 1).
    public let timesteps: Tensor
    /// One per image; nil for a network without labels.
    public let labels: Labels?
  }

  /// Records the forward pass.
  ///
  /// - Parameter positions: this network's positions, in memory that outlives the program.
  /// - Returns: the inputs, and the prediction (n, outputChannels·size·size).
  public func record(_ tape: Recorder, positions: Matrix) -> (inputs: Inputs, output: Tensor) {
    let (size, patch) = (configuration.inputSize, configuration.patchSize)
    let grid = PatchGrid(channels: configuration.channels, size: size, patch: patch)
    let outputGrid = PatchGrid(channels: configuration.outputChannels, size: size, patch: patch)
    let samples = Rows(tape.samples, length: 1)
    let images = tape.input(samples, columns: grid.imageSize)
    let t = tape.input(samples, columns: 1)
    let labels = yEmbedder.map { _ in tape.labels() }

    var x = tape.linear(tape.patchify(images, grid, .channelsFirst), xEmbedder)
    x = tape.sum(x, table: positions)
    let embedded = tape.linear(tape.timestepEmbedding(t, columns: Self.frequencies), tEmbedder.0)
    var c = tape.linear(tape.silu(embedded), tEmbedder.1)
    if let labels, let yEmbedder { c = tape.sum(c, tape.lookup(labels, yEmbedder)) }
    // Each block of the PyTorch code begins its modulation with this same SiLU.
    c = tape.silu(c)
    for block in blocks {
      tape.beginScope()
      x = block.record(tape, x, c)
    }
    tape.beginScope()
    let modulation = tape.linear(c, finalModulation).chunked(2)
    x = tape.modulatedLayerNorm(x, shift: modulation[0], scale: modulation[1])
    x = tape.unpatchify(tape.linear(x, finalLinear), outputGrid, .channelsLast)
    return (Inputs(images: images, timesteps: t, labels: labels), x)
  }
}

/// A transformer block with adaLN-Zero conditioning.
private struct DiTBlock: Sendable {
  let qkv: Linear
  let projection: Linear
  let fc1: Linear
  let fc2: Linear
  let modulation: Linear
  let heads: Int

  init(_ name: String, _ configuration: DiTConfiguration, in list: inout ParameterList) {
    let hidden = configuration.hiddenSize
    qkv = Linear("\(name).attn.qkv", [hidden], 3 * hidden, in: &list)
    projection = Linear("\(name).attn.proj", [hidden], hidden, in: &list)
    fc1 = Linear("\(name).mlp.fc1", [hidden], configuration.mlpSize, in: &list)
    fc2 = Linear("\(name).mlp.fc2", [configuration.mlpSize], hidden, in: &list)
    modulation = Linear("\(name).adaLN_modulation.1", [hidden], 6 * hidden, initialization: .zero, in: &list)
    heads = configuration.heads
  }

  /// - Parameters:
  ///   - x: tokens.
  ///   - c: SiLU of the conditioning, one row per sample.
  func record(_ tape: Recorder, _ x: Tensor, _ c: Tensor) -> Tensor {
    // Shift, scale and gate of the attention, then of the MLP.
    let m = tape.linear(c, modulation).chunked(6)
    let parts = tape.linear(tape.modulatedLayerNorm(x, shift: m[0], scale: m[1]), qkv).chunked(3)
    let attention = tape.linear(tape.attention(parts[0], parts[1], parts[2], heads: heads), projection)
    let y = tape.gatedSum(x, gate: m[2], attention)
    let h = tape.mlp(tape.modulatedLayerNorm(y, shift: m[3], scale: m[4]), fc1, fc2)
    return tape.gatedSum(y, gate: m[5], h)
  }
}

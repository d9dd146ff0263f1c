import Kernels

/// The first layers of a diffusion transformer: patches to tokens, and the conditioning on timestep and label.
struct Embedders: Sendable {
  private let shape: TransformerShape
  private let x: Linear
  private let t: (Linear, Linear)
  private let y: Parameter?

  /// The number of sinusoidal features of a timestep.
  private static let frequencies = 256

  init(_ shape: TransformerShape, in list: inout ParameterList) {
    let (hidden, patch) = (shape.hiddenSize, shape.patchSize)
    let small = Initialization.normal(standardDeviation: 0.02)
    x = Linear("x_embedder.proj", [shape.channels, patch, patch], hidden, in: &list)
    t = (
      Linear("t_embedder.mlp.0", [Self.frequencies], hidden, initialization: small, in: &list),
      Linear("t_embedder.mlp.2", [hidden], hidden, initialization: small, in: &list)
    )
    y = shape.labels.map { list.add("y_embedder.embedding_table.weight", [$0.entries, hidden], small) }
    self.shape = shape
  }

  /// The inputs of a run, and the tokens of their images, without positions.
  func recordTokens(_ tape: Recorder) -> (inputs: NetworkInputs, tokens: Tensor) {
    let grid = shape.patches(channels: shape.channels)
    let inputs = NetworkInputs(tape, shape.image, hasLabels: y != nil)
    return (inputs, tape.linear(tape.patchify(inputs.images, grid, .channelsFirst), x))
  }

  /// SiLU of the conditioning, one row per sample.
  func recordConditioning(_ tape: Recorder, _ inputs: NetworkInputs) -> Tensor {
    let waves = tape.timestepEmbedding(
      inputs.timesteps, columns: Self.frequencies, frequencyShift: shape.frequencyShift)
    var c = tape.linear(tape.silu(tape.linear(waves, t.0)), t.1)
    if let labels = inputs.labels, let y { c = tape.sum(c, tape.lookup(labels, y)) }
    // Each block of the PyTorch code starts its modulation with this same SiLU.
    return tape.silu(c)
  }
}

/// The last layer of a diffusion transformer: tokens to images.
struct FinalLayer: Sendable {
  private let shape: TransformerShape
  private let linear: Linear
  private let modulation: Linear

  init(_ shape: TransformerShape, in list: inout ParameterList) {
    let hidden = shape.hiddenSize
    let patch = shape.patches(channels: shape.image.outputChannels).patchSize
    linear = Linear("final_layer.linear", [hidden], patch, initialization: .zero, in: &list)
    modulation = Linear("final_layer.adaLN_modulation.1", [hidden], 2 * hidden, initialization: .zero, in: &list)
    self.shape = shape
  }

  func record(_ tape: Recorder, _ x: Tensor, _ c: Tensor) -> Tensor {
    let m = tape.linear(c, modulation).chunked(2)
    let tokens = tape.linear(tape.modulatedLayerNorm(x, shift: m[0], scale: m[1]), linear)
    return tape.unpatchify(tokens, shape.patches(channels: shape.image.outputChannels), .channelsLast)
  }
}

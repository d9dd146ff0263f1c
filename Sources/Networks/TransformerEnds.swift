import Kernels

/// The inputs of a diffusion transformer.
public struct NetworkInputs {
  /// Shape (n, channels·size·size).
  public let images: Tensor
  /// Shape (n, 1); time steps, which may be fractions.
  public let timesteps: Tensor
  /// One per image; nil for a network without labels.
  public let labels: Labels?
}

/// The first layers of a DiT or an MDT: patches to tokens, and the conditioning on time step and label.
struct Embedders: Sendable {
  private let configuration: NetworkConfiguration
  private let x: Linear
  private let t: (Linear, Linear)
  private let y: Parameter?

  /// The number of sinusoidal features of a time step.
  private static let frequencies = 256

  init(_ configuration: NetworkConfiguration, in list: inout ParameterList) {
    let (hidden, patch) = (configuration.hiddenSize, configuration.patchSize)
    let small = Initialization.normal(standardDeviation: 0.02)
    x = Linear("x_embedder.proj", [configuration.channels, patch, patch], hidden, in: &list)
    t = (
      Linear("t_embedder.mlp.0", [Self.frequencies], hidden, initialization: small, in: &list),
      Linear("t_embedder.mlp.2", [hidden], hidden, initialization: small, in: &list)
    )
    let entries = configuration.labelEntries
    y = entries > 0 ? list.add("y_embedder.embedding_table.weight", [entries, hidden], small) : nil
    self.configuration = configuration
  }

  /// The inputs of a run, and the tokens of their images, without positions.
  func recordTokens(_ tape: Recorder) -> (inputs: NetworkInputs, tokens: Tensor) {
    let samples = Rows(tape.samples, length: 1)
    let grid = configuration.patches(channels: configuration.channels)
    let inputs = NetworkInputs(
      images: tape.input(samples, columns: grid.imageSize), timesteps: tape.input(samples, columns: 1),
      labels: y.map { _ in tape.labels() })
    return (inputs, tape.linear(tape.patchify(inputs.images, grid, .channelsFirst), x))
  }

  /// SiLU of the conditioning, one row per sample.
  func recordConditioning(_ tape: Recorder, _ inputs: NetworkInputs) -> Tensor {
    let waves = tape.timestepEmbedding(
      inputs.timesteps, columns: Self.frequencies, frequencyShift: configuration.frequencyShift)
    var c = tape.linear(tape.silu(tape.linear(waves, t.0)), t.1)
    if let labels = inputs.labels, let y { c = tape.sum(c, tape.lookup(labels, y)) }
    // Each block of the PyTorch code starts its modulation with this same SiLU.
    return tape.silu(c)
  }
}

/// The last layer of a DiT or an MDT: tokens to images.
struct FinalLayer: Sendable {
  private let configuration: NetworkConfiguration
  private let linear: Linear
  private let modulation: Linear

  init(_ configuration: NetworkConfiguration, in list: inout ParameterList) {
    let hidden = configuration.hiddenSize
    let patch = configuration.patches(channels: configuration.outputChannels).patchSize
    linear = Linear("final_layer.linear", [hidden], patch, initialization: .zero, in: &list)
    modulation = Linear("final_layer.adaLN_modulation.1", [hidden], 2 * hidden, initialization: .zero, in: &list)
    self.configuration = configuration
  }

  func record(_ tape: Recorder, _ x: Tensor, _ c: Tensor) -> Tensor {
    let m = tape.linear(c, modulation).chunked(2)
    let tokens = tape.linear(tape.modulatedLayerNorm(x, shift: m[0], scale: m[1]), linear)
    return tape.unpatchify(tokens, configuration.patches(channels: configuration.outputChannels), .channelsLast)
  }
}

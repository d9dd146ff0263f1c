/// A transformer block with adaLN-Zero conditioning.
struct TransformerBlock: Sendable {
  private let qkv: Linear
  private let projection: Linear
  private let positionBias: Parameter?
  private let fc1: Linear
  private let fc2: Linear
  private let modulation: Linear
  private let skipLinear: Linear?
  private let heads: Int
  private let grid: Int

  /// Whether the block also reads the output of an earlier one.
  var hasSkip: Bool { skipLinear != nil }

  /// Adds the parameters of a block in the order of its state dict.
  ///
  /// - Parameters:
  ///   - hasPositionBias: whether attention has a relative position bias.
  ///   - hasSkip: whether the block also reads an earlier block's tokens.
  init(
    _ name: String, _ shape: TransformerShape, hasPositionBias: Bool = false, hasSkip: Bool = false,
    in list: inout ParameterList
  ) {
    (heads, grid) = (shape.heads, shape.grid)
    let hidden = shape.hiddenSize
    qkv = Linear("\(name).attn.qkv", [hidden], 3 * hidden, in: &list)
    projection = Linear("\(name).attn.proj", [hidden], hidden, in: &list)
    // The authors truncate this normal distribution at a hundred standard deviations.
    positionBias =
      hasPositionBias
      ? list.add(
        "\(name).attn.rel_pos_bias.relative_position_bias_table", PositionBias.shape(grid: grid, heads: heads),
        .normal(standardDeviation: 0.02)) : nil
    fc1 = Linear("\(name).mlp.fc1", [hidden], shape.mlpSize, in: &list)
    fc2 = Linear("\(name).mlp.fc2", [shape.mlpSize], hidden, in: &list)
    modulation = Linear("\(name).adaLN_modulation.1", [hidden], 6 * hidden, initialization: .zero, in: &list)
    skipLinear = hasSkip ? Linear("\(name).skip_linear", [2 * hidden], hidden, in: &list) : nil
  }

  /// - Parameters:
  ///   - x: tokens.
  ///   - c: SiLU of the conditioning, one row per sample.
  ///   - skip: an earlier block's tokens, if the block reads them.
  ///   - order: which of the grid's tokens x has; nil: all.
  func record(_ tape: Recorder, _ x: Tensor, _ c: Tensor, skip: Tensor? = nil, order: TokenOrder? = nil) -> Tensor {
    var x = x
    if let skipLinear, let skip { x = tape.linear(tape.concatenation(x, skip), skipLinear) }
    let bias = positionBias.map { PositionBias(table: $0, grid: grid, order: order) }
    // Shift, scale and gate of the attention, then of the MLP.
    let m = tape.linear(c, modulation).chunked(6)
    let parts = tape.linear(tape.modulatedLayerNorm(x, shift: m[0], scale: m[1]), qkv).chunked(3)
    let attention = tape.linear(tape.attention(parts[0], parts[1], parts[2], heads: heads, bias: bias), projection)
    let y = tape.gatedSum(x, gate: m[2], attention)
    // In bfloat16 the gradients of one half would take as much memory as the values of two blocks.
    if tape.precision == .bfloat16 { tape.beginScope() }
    let h = tape.mlp(tape.modulatedLayerNorm(y, shift: m[3], scale: m[4]), fc1, fc2)
    return tape.gatedSum(y, gate: m[5], h)
  }
}

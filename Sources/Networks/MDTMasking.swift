import ArgumentErrors

/// The options of an MDT and its training, beyond those of a DiT.
public struct MDTMasking: Sendable, Equatable {
  /// The authors' two networks.
  public enum Version: Int, Sendable {
    /// Gao et al. 2023: a row of blocks, the last of which decode. The mask ratio is fixed.
    case one = 1
    /// MDTv2, 2024: long skip connections within the encoder and from its input. The mask ratio is drawn.
    case two = 2
  }

  /// The structure of the blocks.
  public var version: Version
  /// The number of blocks that decode.
  public var decoderDepth: Int
  /// The share of tokens that the encoder does not get. In version 2 it is the minimum; the maximum is 0.2 higher.
  public var maskRatio: Double

  /// γ of the Min-SNR factor on both passes' squared errors, in addition to the sampler's weight; nil: none.
  public var minSNRGamma: Double?

  /// Describes the masking. `check` tells whether it fits a network.
  public init(version: Version, decoderDepth: Int, maskRatio: Double, minSNRGamma: Double?) {
    self.version = version
    self.decoderDepth = decoderDepth
    self.maskRatio = maskRatio
    self.minSNRGamma = minSNRGamma
  }

  /// The masking of Gao et al. 2023, as SpeeD trains it.
  public static let paper = MDTMasking(version: .one, decoderDepth: 2, maskRatio: 0.3, minSNRGamma: nil)
  /// The masking of the authors' MDTv2 code, whose loss includes Min-SNR-5.
  public static let secondVersion = MDTMasking(
    version: .two, decoderDepth: 4, maskRatio: 0.3, minSNRGamma: 5)

  /// What the second pass hides from the encoder. Version 2 draws the share for each step.
  public func hidden(of tokens: Int) -> HiddenTokens {
    HiddenTokens(of: tokens, share: maskRatio, spread: version == .two ? 0.2 : 0)
  }

  /// - Throws: `ArgumentError` if it does not fit a network of this shape.
  public func check(for shape: TransformerShape) throws {
    guard (0...shape.depth).contains(decoderDepth) else {
      throw ArgumentError("decode_layer", "must be in [0, depth = \(shape.depth)]", got: decoderDepth)
    }
    guard version == .one || (shape.depth - decoderDepth) % 2 == 0 else {
      throw ArgumentError(
        "decode_layer", "must leave an even number of the \(shape.depth) blocks for MDTv2's encoder",
        got: decoderDepth)
    }
    guard maskRatio >= 0, maskRatio < 1, hidden(of: shape.tokens).kept(1) >= 1 else {
      throw ArgumentError(
        "mask_ratio", "must be in [0, 1) and leave at least one of \(shape.tokens) tokens",
        got: maskRatio)
    }
    if let gamma = minSNRGamma, !(gamma > 0 && gamma.isFinite) {
      throw ArgumentError("min_snr_gamma", "must be positive and finite", got: gamma)
    }
  }
}

import ArgumentErrors

/// What an MDT has beside the shape of a DiT.
public struct MaskingConfiguration: Sendable, Equatable {
  /// The authors' two networks.
  public enum Version: Int, Sendable {
    /// Gao et al. 2023: a row of blocks, of which the last decode. The mask ratio is fixed.
    case one = 1
    /// MDTv2, 2024: long skips within the encoder and from its input. The mask ratio is drawn.
    case two = 2
  }

  /// The structure of the blocks.
  public var version: Version
  /// How many of the blocks decode.
  public var decoderDepth: Int
  /// The share of tokens that the encoder does not get: of version 2 the least, with 0.2 more at most.
  public var maskRatio: Double

  /// Describes the masking; `check` says whether a network can have it.
  public init(version: Version = .two, decoderDepth: Int = 4, maskRatio: Double = 0.3) {
    self.version = version
    self.decoderDepth = decoderDepth
    self.maskRatio = maskRatio
  }

  /// The largest ratio that is drawn.
  public var mostMasked: Double { version == .two ? min(maskRatio + 0.2, 1) : maskRatio }

  /// - Throws: `ArgumentError` unless a network of this shape can be masked so.
  public func check(for configuration: DiTConfiguration) throws {
    guard (0...configuration.depth).contains(decoderDepth) else {
      throw ArgumentError("decode_layer", "must be in [0, depth = \(configuration.depth)]", got: decoderDepth)
    }
    guard version == .one || (configuration.depth - decoderDepth) % 2 == 0 else {
      throw ArgumentError(
        "decode_layer", "must leave an even number of the \(configuration.depth) blocks for MDTv2's encoder",
        got: decoderDepth)
    }
    guard maskRatio >= 0, maskRatio < 1, Int(Double(configuration.tokens) * (1 - mostMasked)) >= 1 else {
      throw ArgumentError("mask_ratio", "must be in [0, 1) and leave at least one token", got: maskRatio)
    }
  }
}

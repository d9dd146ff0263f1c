import ArgumentErrors

/// What an MDT, and its training, has beside the shape of a DiT.
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

  /// γ of the Min-SNR factor that both passes' squared errors have beside the sampler's weight; nil for none.
  public var minSNRGamma: Double?

  /// Describes the masking; `check` says whether a network can have it.
  public init(version: Version, decoderDepth: Int, maskRatio: Double, minSNRGamma: Double?) {
    self.version = version
    self.decoderDepth = decoderDepth
    self.maskRatio = maskRatio
    self.minSNRGamma = minSNRGamma
  }

  /// The masking of Gao et al. 2023, as SpeeD trains it.
  public static let paper = MaskingConfiguration(version: .one, decoderDepth: 2, maskRatio: 0.3, minSNRGamma: nil)
  /// That of the authors' code of MDTv2, which has Min-SNR-5 written into its loss.
  public static let secondVersion = MaskingConfiguration(
    version: .two, decoderDepth: 4, maskRatio: 0.3, minSNRGamma: 5)

  /// The ratio of a step.
  ///
  /// - Parameter fraction: a random number in [0, 1], of which version 2 makes up to 0.2 more.
  public func ratio(_ fraction: Double) -> Double { version == .two ? min(maskRatio + 0.2 * fraction, 1) : maskRatio }

  /// How many tokens the encoder gets at one ratio.
  public func keptTokens(of tokens: Int, ratio: Double) -> Int { Int(Double(tokens) * (1 - ratio)) }

  /// - Throws: `ArgumentError` unless a network of this shape can be masked so.
  public func check(for configuration: NetworkConfiguration) throws {
    guard (0...configuration.depth).contains(decoderDepth) else {
      throw ArgumentError("decode_layer", "must be in [0, depth = \(configuration.depth)]", got: decoderDepth)
    }
    guard version == .one || (configuration.depth - decoderDepth) % 2 == 0 else {
      throw ArgumentError(
        "decode_layer", "must leave an even number of the \(configuration.depth) blocks for MDTv2's encoder",
        got: decoderDepth)
    }
    guard maskRatio >= 0, maskRatio < 1, keptTokens(of: configuration.tokens, ratio: ratio(1)) >= 1 else {
      throw ArgumentError(
        "mask_ratio", "must be in [0, 1) and leave at least one of \(configuration.tokens) tokens",
        got: maskRatio)
    }
    if let gamma = minSNRGamma, !(gamma > 0 && gamma.isFinite) {
      throw ArgumentError("min_snr_gamma", "must be positive and finite", got: gamma)
    }
  }
}

import ArgumentErrors
import Kernels

/// The shape of a diffusion transformer.
public struct TransformerShape: Sendable, Equatable {
  /// The pixels, or latents, along an image's side.
  public var inputSize: Int
  /// The pixels along a patch's side; it divides `inputSize`.
  public var patchSize: Int
  /// The planes of an image.
  public var channels: Int
  /// The floats of a token: a multiple of 4 and of `heads`.
  public var hiddenSize: Int
  /// The number of blocks.
  public var depth: Int
  /// The attention heads of a block.
  public var heads: Int
  /// The hidden floats of a block's MLP, as a multiple of `hiddenSize`.
  public var mlpRatio: Double
  /// The number of classes; 0 for a network without labels.
  public var classes: Int
  /// The probability that a label is dropped in training. Above 0 there is a null label, number `classes`.
  public var classDropout: Double
  /// Whether the network also predicts a variance.
  public var learnsSigma: Bool
  /// s in the frequencies 10000^(-i/(128-s)) of the timestep embedding: 0 in the authors' code, 1 in diffusers.
  public var frequencyShift: Double

  /// Describes a network. `check` tells whether it can be built.
  public init(
    inputSize: Int = 32, patchSize: Int = 2, channels: Int = 4, hiddenSize: Int = 1152, depth: Int = 28,
    heads: Int = 16, mlpRatio: Double = 4, classes: Int = 1000, classDropout: Double = 0.1, learnsSigma: Bool = true,
    frequencyShift: Double = 0
  ) {
    self.inputSize = inputSize
    self.patchSize = patchSize
    self.channels = channels
    self.hiddenSize = hiddenSize
    self.depth = depth
    self.heads = heads
    self.mlpRatio = mlpRatio
    self.classes = classes
    self.classDropout = classDropout
    self.learnsSigma = learnsSigma
    self.frequencyShift = frequencyShift
  }

  /// The shape of its images.
  public var image: ImageShape { ImageShape(channels: channels, size: inputSize, learnsSigma: learnsSigma) }
  /// The hidden floats of a block's MLP.
  public var mlpSize: Int { Int(Double(hiddenSize) * mlpRatio) }
  /// Its labels; nil without classes.
  public var labels: ClassLabels? { classes == 0 ? nil : ClassLabels(classes: classes, dropout: classDropout) }

  /// The patches along an image's side.
  public var grid: Int { inputSize / patchSize }
  /// The patches of an image.
  public var tokens: Int { grid * grid }

  /// The patches of images of the network's size.
  func patches(channels: Int) -> PatchGrid { PatchGrid(channels: channels, size: inputSize, patch: patchSize) }

  /// - Throws: `ArgumentError` unless a network of this shape can be built.
  public func check() throws {
    try check(inputSize, "input_size", in: 1...1 << 14)
    try check(patchSize, "patch_size", in: 1...inputSize)
    guard inputSize % patchSize == 0 else {
      throw ArgumentError("input_size", "must be a multiple of patch_size = \(patchSize)", got: inputSize)
    }
    try check(inputSize / patchSize, "input_size / patch_size", in: 1...1 << 10)
    try check(channels, "in_channels", in: 1...1 << 12)
    try check(hiddenSize, "hidden_size", in: 4...1 << 16)
    try check(heads, "num_heads", in: 1...hiddenSize)
    guard hiddenSize % 4 == 0, hiddenSize % heads == 0 else {
      throw ArgumentError("hidden_size", "must be a multiple of 4 and of num_heads = \(heads)", got: hiddenSize)
    }
    try check(depth, "depth", in: 1...1 << 12)
    guard mlpRatio > 0, mlpRatio <= 64, mlpSize >= 1 else {
      throw ArgumentError("mlp_ratio", "must be in (0, 64] and give at least one hidden unit", got: mlpRatio)
    }
    try check(classes, "num_classes", in: 0...1 << 24)
    guard classDropout >= 0, classDropout <= 1 else {
      throw ArgumentError("class_dropout_prob", "must be in [0, 1]", got: classDropout)
    }
    guard frequencyShift >= 0, frequencyShift <= 1 else {
      throw ArgumentError("frequency_shift", "must be in [0, 1]", got: frequencyShift)
    }
  }

  private func check(_ value: Int, _ name: String, in range: ClosedRange<Int>) throws {
    guard range.contains(value) else {
      throw ArgumentError(name, "must be in [\(range.lowerBound), \(range.upperBound)]", got: value)
    }
  }
}

extension TransformerShape {
  /// The values by the names of the authors' arguments.
  public static var fields: [NetworkField<TransformerShape>] {
    [
      .integer("input_size", \.inputSize), .integer("patch_size", \.patchSize), .integer("in_channels", \.channels),
      .integer("hidden_size", \.hiddenSize), .integer("depth", \.depth), .integer("num_heads", \.heads),
      .real("mlp_ratio", \.mlpRatio), .integer("num_classes", \.classes),
      .real("class_dropout_prob", \.classDropout), .flag("learn_sigma", \.learnsSigma),
      .real("frequency_shift", \.frequencyShift),
    ]
  }

  /// The official networks of a series: width, depth and heads by letter, with patches of 2, 4 and 8. Peebles and Xie 2023,
  /// Table 1.
  ///
  /// - Parameter more: what the series has beside these.
  static func official(_ series: String, _ more: [(name: String, value: Double)] = []) -> OfficialSeries {
    let sizes: [(String, Double, Double, Double)] = [
      ("S", 384, 12, 6), ("B", 768, 12, 12), ("L", 1024, 24, 16), ("XL", 1152, 28, 16),
    ]
    return OfficialSeries(
      sizes.flatMap { size, hiddenSize, depth, heads in
        [2, 4, 8].map { patch in
          (
            "\(series)-\(size)/\(patch)",
            [
              ("hidden_size", hiddenSize), ("depth", depth), ("num_heads", heads), ("patch_size", Double(patch)),
            ] + more
          )
        }
      })
  }
}

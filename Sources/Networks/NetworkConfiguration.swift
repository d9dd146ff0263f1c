import ArgumentErrors
import Kernels

/// The shape of a DiT or an MDT.
public struct NetworkConfiguration: Sendable, Equatable {
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
  /// s in the frequencies 10000^(-i/(128-s)) of the time step embedding: 0 in the authors' code, 1 in diffusers.
  public var frequencyShift: Double
  /// The masking of an MDT; nil for a DiT.
  public var masking: MaskingConfiguration?

  /// Describes a network. `check` tells whether it can be built.
  public init(
    inputSize: Int = 32, patchSize: Int = 2, channels: Int = 4, hiddenSize: Int = 1152, depth: Int = 28,
    heads: Int = 16, mlpRatio: Double = 4, classes: Int = 1000, classDropout: Double = 0.1, learnsSigma: Bool = true,
    frequencyShift: Double = 0, masking: MaskingConfiguration? = nil
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
    self.masking = masking
  }

  /// The planes of the network's output.
  public var outputChannels: Int { learnsSigma ? 2 * channels : channels }
  /// The hidden floats of a block's MLP.
  public var mlpSize: Int { Int(Double(hiddenSize) * mlpRatio) }
  /// The rows of the label table.
  public var labelEntries: Int { classes == 0 ? 0 : classes + (classDropout > 0 ? 1 : 0) }

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
    try masking?.check(for: self)
  }

  private func check(_ value: Int, _ name: String, in range: ClosedRange<Int>) throws {
    guard range.contains(value) else {
      throw ArgumentError(name, "must be in [\(range.lowerBound), \(range.upperBound)]", got: value)
    }
  }
}

extension NetworkConfiguration {
  /// Width, depth and heads by letter. Peebles and Xie 2023, Table 1; MDT has the same.
  private static let sizes = [("S", 384, 12, 6), ("B", 768, 12, 12), ("L", 1024, 24, 16), ("XL", 1152, 28, 16)]
  private static let families: [(String, MaskingConfiguration?)] = [
    ("DiT", nil), ("MDT", .paper), ("MDTv2", .secondVersion),
  ]

  /// Sets width, depth, heads, patch and masking to those of an official network: DiT, MDT or MDTv2 in size S, B, L or XL with
  /// patch 2, 4 or 8, such as "DiT-S/2".
  ///
  /// - Throws: `ArgumentError`, which suggests the nearest name.
  public mutating func become(_ name: String) throws {
    var names: [String] = []
    for (family, masking) in Self.families {
      for (size, hiddenSize, depth, heads) in Self.sizes {
        for patchSize in [2, 4, 8] {
          names.append("\(family)-\(size)/\(patchSize)")
          guard names.last == name else { continue }
          (self.hiddenSize, self.depth, self.heads) = (hiddenSize, depth, heads)
          (self.patchSize, self.masking) = (patchSize, masking)
          return
        }
      }
    }
    let nearest = names.min { distance($0, name) < distance($1, name) } ?? names[0]
    throw ArgumentError(
      "model", "must be DiT, MDT or MDTv2, then -S, -B, -L or -XL, then /2, /4 or /8 (did you mean \(nearest)?)",
      got: name)
  }
}

/// The edit distance of two words, regardless of case.
private func distance(_ a: String, _ b: String) -> Int {
  let (a, b) = (Array(a.lowercased().prefix(64)), Array(b.lowercased().prefix(64)))
  var row = Array(0...b.count)
  for (i, letter) in a.enumerated() {
    var diagonal = row[0]
    row[0] = i + 1
    for (j, other) in b.enumerated() {
      (diagonal, row[j + 1]) = (
        row[j + 1], min(row[j + 1] + 1, row[j] + 1, diagonal + (letter == other ? 0 : 1))
      )
    }
  }
  return row[b.count]
}

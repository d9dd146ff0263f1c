import Kernels
import TimestepSampling

/// A network that can be trained to denoise: all that a trainer needs to know of it.
///
/// A family of networks conforms to it in a file of its own, and adds itself to `NetworkFamilies`.
public protocol DiffusionNetwork: Sendable {
  /// Its family and values, from which it can be made again.
  var description: NetworkDescription { get }
  /// The shape of its images.
  var image: ImageShape { get }
  /// Its parameters, in the order of its state dict.
  var parameters: ParameterList { get }
  /// The tensors of its state dict that are not trained.
  var fixedTensors: FixedTensorList { get }
  /// What it is conditioned on besides the timestep.
  var conditioning: [ConditioningInput] { get }
  /// The passes of a training step; the first one is that of generation.
  var passes: [NetworkPass] { get }
  /// A factor of each timestep's squared error that belongs to the network's objective, in addition to the sampler's
  /// weight; nil: none.
  var errorFactor: (any Weighting)? { get }

  /// Records the forward pass.
  ///
  /// - Parameters:
  ///   - fixed: the fixed tensors in the order of `fixedTensors`, in memory that outlives the program.
  ///   - order: which tokens are hidden, in a pass that hides some; nil: none, as in generation.
  func record(_ tape: Recorder, fixed: [Matrix], order: TokenOrder?) -> RecordedPass
}

extension DiffusionNetwork {
  /// No fixed tensors.
  public var fixedTensors: FixedTensorList { FixedTensorList() }
  /// No conditioning.
  public var conditioning: [ConditioningInput] { [] }
  /// One pass with all tokens.
  public var passes: [NetworkPass] { [.first] }
  /// No factor.
  public var errorFactor: (any Weighting)? { nil }

  /// The class labels among the conditioning; nil if there are none.
  public var labels: ClassLabels? {
    for case .labels(let labels) in conditioning.map(\.kind) { return labels }
    return nil
  }
}

/// The shape of a network's images: squares of some planes.
public struct ImageShape: Sendable, Equatable {
  /// The planes of an image.
  public let channels: Int
  /// The pixels, or latents, along its side.
  public let size: Int
  /// Whether the network also predicts a variance, in as many planes again.
  public let learnsSigma: Bool

  /// Describes a shape.
  public init(channels: Int, size: Int, learnsSigma: Bool) {
    (self.channels, self.size, self.learnsSigma) = (channels, size, learnsSigma)
  }

  /// The planes of the network's output.
  public var outputChannels: Int { learnsSigma ? 2 * channels : channels }
  /// The floats of an image.
  public var elements: Int { channels * size * size }
}

/// Something that a network is conditioned on.
public struct ConditioningInput: Sendable, Equatable {
  /// What it is.
  public enum Kind: Sendable, Equatable {
    /// A class label for each sample.
    case labels(ClassLabels)
  }

  /// Its name, as in the arguments of the official network.
  public let name: String
  /// Its shape for one sample.
  public let shape: [Int]
  /// What it is.
  public let kind: Kind

  /// Labels, named "y".
  public static func labels(_ labels: ClassLabels) -> ConditioningInput {
    ConditioningInput(name: "y", shape: [], kind: .labels(labels))
  }
}

/// Class labels, some of which are dropped in training.
public struct ClassLabels: Sendable, Equatable {
  /// The number of classes, at least 1.
  public let classes: Int
  /// The probability that a label is replaced by the null label.
  public let dropout: Double

  /// Describes labels.
  public init(classes: Int, dropout: Double) { (self.classes, self.dropout) = (classes, dropout) }

  /// The label that stands for none; nil if no label is dropped.
  public var null: Int? { dropout > 0 ? classes : nil }
  /// How many labels there are, the null label included.
  public var entries: Int { null == nil ? classes : classes + 1 }
}

/// A pass of a training step, forward and back. All passes of a step have the same timesteps and weights.
public struct NetworkPass: Sendable {
  /// What the pass's noise is drawn for.
  public let noise: RandomPurpose
  /// What its dropped labels are drawn for.
  public let labelDropout: RandomPurpose
  /// The tokens that it hides; nil: none.
  public let hidden: HiddenTokens?

  /// The first pass.
  public static let first = NetworkPass(noise: .noise, labelDropout: .labelDropout, hidden: nil)

  /// A second pass, whose noise and dropped labels are its own.
  public static func second(hiding hidden: HiddenTokens?) -> NetworkPass {
    NetworkPass(noise: .maskedNoise, labelDropout: .maskedLabelDropout, hidden: hidden)
  }
}

/// How many of each sample's tokens a pass hides.
public struct HiddenTokens: Sendable, Equatable {
  /// The tokens of a sample.
  public let tokens: Int
  /// The smallest share that is hidden.
  public let share: Double
  /// How much larger the share may be; it is drawn for each step.
  public let spread: Double

  /// Describes what is hidden.
  public init(of tokens: Int, share: Double, spread: Double) {
    (self.tokens, self.share, self.spread) = (tokens, share, spread)
  }

  /// How many tokens are kept.
  ///
  /// - Parameter fraction: the step's random number in [0, 1].
  public func kept(_ fraction: Double) -> Int { Int(Double(tokens) * (1 - min(share + spread * fraction, 1))) }
}

/// A network's recorded forward pass.
public struct RecordedPass {
  /// Its inputs.
  public let inputs: NetworkInputs
  /// The prediction, (n, outputChannels·size·size).
  public let output: Tensor

  /// Names inputs and output.
  public init(inputs: NetworkInputs, output: Tensor) { (self.inputs, self.output) = (inputs, output) }
}

/// The inputs of a network.
public struct NetworkInputs {
  /// Shape (n, channels·size·size).
  public let images: Tensor
  /// Shape (n, 1); timesteps, which may be fractions.
  public let timesteps: Tensor
  /// One per image; nil for a network without labels.
  public let labels: Labels?

  /// Adds the inputs to a recording.
  public init(_ tape: Recorder, _ image: ImageShape, hasLabels: Bool) {
    let samples = Rows(tape.samples, length: 1)
    images = tape.input(samples, columns: image.elements)
    timesteps = tape.input(samples, columns: 1)
    labels = hasLabels ? tape.labels() : nil
  }
}

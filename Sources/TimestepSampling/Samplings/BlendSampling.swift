import NoiseSchedules

/// A sampling that changes linearly into another during training: (1-s)·first + s·second, where s goes from 0 at
/// training step `startStep` to 1 at `endStep`, in thousandths.
public struct BlendSampling: ChangingSampling {
  /// P up to `startStep`.
  public let first: any Sampling
  /// P from `endStep` on.
  public let second: any Sampling
  /// The training (optimizer) step at which the change begins.
  public let startStep: Int
  /// The training step at which it ends.
  public let endStep: Int
  /// Both samplings' parts and itself.
  public let parts: Int

  /// The largest training step that a blend can end at: a thousand times it still fits into an integer.
  public static let largestStep = 1 << 53

  /// Makes the blend.
  ///
  /// - Throws: `ArgumentError` unless 0 ≤ startStep < endStep ≤ 2⁵³.
  public init(first: any Sampling, second: any Sampling, startStep: Int = 0, endStep: Int) throws {
    guard startStep >= 0 else { throw ArgumentError("start_step", "must be at least 0", got: startStep) }
    guard endStep > startStep, endStep <= Self.largestStep else {
      throw ArgumentError(
        "end_step", "must be above start_step = \(startStep) and at most \(Self.largestStep)", got: endStep)
    }
    parts = try combinedParts("first", first.parts, second.parts)
    self.first = first
    self.second = second
    self.startStep = startStep
    self.endStep = endStep
  }

  /// Both parts, and the share that follows the training step.
  public func state(for schedule: NoiseSchedule) throws -> any SamplingState {
    try PairState(
      a: first.state(for: schedule), b: second.state(for: schedule),
      share: .falling(from: UInt64(startStep), to: UInt64(endStep)))
  }
}

extension BlendSampling {
  /// Curriculum learning for timesteps: from uniform to a Gaussian over the steps.
  ///
  /// Source: Xu et al., "Towards Faster Training of Diffusion Models: An Inspiration of A Consistency Phenomenon" (CLTS),
  /// 2024. The mean's default is that of SpeeD's copy, the standard deviation's is SpeeDiff's own.
  ///
  /// - Parameters:
  ///   - mean: of the Gaussian, in steps; nil: 0.3·T.
  ///   - std: of the Gaussian, in steps, above 0; nil: 0.2·T.
  ///   - endStep: the training step from which the Gaussian alone is drawn.
  public static func clts(mean: Double? = nil, std: Double? = nil, endStep: Int = 50_000) throws -> BlendSampling {
    try BlendSampling(first: UniformSampling(), second: GaussianSampling(mean: mean, std: std), endStep: endStep)
  }

  /// From noise to detail: a Laplace density of λ = ln(SNR) that moves from below 0 to above over training.
  ///
  /// Source: SpeeDiff's study, docs/study.md, where it came out best of 73 candidates with a network that predicts x₀.
  ///
  /// - Parameters:
  ///   - mean: the λ of the peak at the end; at first it is `-mean`. Below 0, training goes from detail to noise.
  ///   - scale: of both densities, above 0.
  ///   - endStep: the training step from which the second density alone is drawn.
  public static func noiseToDetail(mean: Double = 1, scale: Double = 1, endStep: Int = 50_000) throws -> BlendSampling {
    try BlendSampling(
      first: LaplaceSampling(mean: -mean, scale: scale), second: LaplaceSampling(mean: mean, scale: scale),
      endStep: endStep)
  }
}

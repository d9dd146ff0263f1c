/// What a sampler needs besides its schedule, sampling and weighting.
public struct SamplerOptions: Sendable {
  /// The seed of every draw; the same on every rank.
  public var seed: UInt64
  /// How ranks and micro-batches share a global batch.
  public var layout: BatchLayout
  /// How the entries of a global batch are spread.
  public var strata: Strata
  /// What the network predicts, for weightings whose form depends on it.
  public var prediction: PredictionTarget?
  /// Whether to divide the weights by their exact mean over the draws, which keeps the scale of the loss.
  public var normalize: Bool

  /// Collects the options.
  public init(
    seed: UInt64, layout: BatchLayout = .single, strata: Strata = .none, prediction: PredictionTarget? = nil,
    normalize: Bool = false
  ) {
    self.seed = seed
    self.layout = layout
    self.strata = strata
    self.prediction = prediction
    self.normalize = normalize
  }
}

/// What a sampler needs besides its schedule, density and weighting.
public struct SamplerOptions: Sendable {
  /// The seed of every draw; the same on every rank.
  public var seed: UInt64
  /// How ranks and micro-batches share a global batch.
  public var layout: BatchLayout
  /// How the entries of a global batch are spread.
  public var strata: Strata
  /// What the network predicts, for weightings whose form depends on it.
  public var prediction: PredictionTarget?
  /// Divide the weights by their mean under what is really drawn, so that the scale of the loss does not change.
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

/// What the network is trained to predict. Most weightings have another form for each target.
public enum PredictionTarget: Int32, Sendable, CaseIterable {
  /// The noise ε.
  case epsilon = 1
  /// The data x₀.
  case sample = 2
  /// v = √ᾱ·ε - √(1-ᾱ)·x₀ (Salimans and Ho 2022).
  case v = 3
  /// ε - x₀ (rectified flow).
  case flow = 4
}

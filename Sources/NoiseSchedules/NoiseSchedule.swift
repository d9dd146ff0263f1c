/// How a variance-preserving diffusion process adds noise: `x_t = √ᾱ_t·x₀ + √(1-ᾱ_t)·ε` over T steps.
///
/// Tables are 0-based: entry `i` belongs to the paper's timestep `t = i + 1`. They hold `steps` values in double
/// precision. Valid tables have β in (0, 1], with 1 only at the last step, and ᾱ strictly decreasing from below 1, with
/// 0 only at the last step (zero terminal signal-to-noise ratio).
///
/// Source: Ho et al., "Denoising Diffusion Probabilistic Models", 2020, Section 2.
public struct NoiseSchedule: Sendable, Equatable {
  /// β_i, the variance that step i adds.
  public let betas: [Double]
  /// ᾱ_i = Π_{j≤i}(1-β_j), the share of the signal's variance that remains after step i.
  public let alphasCumprod: [Double]

  /// T, the number of timesteps.
  public var steps: Int { betas.count }

  /// The maximum number of steps. It keeps the size of every table far from the limits of memory and of integers.
  public static let maximumSteps = 1 << 24

  /// Makes a schedule from β.
  ///
  /// - Parameter betas: T ≥ 2 finite values in (0, 1], 1 only at the last step.
  /// - Throws: `ArgumentError`, which names the first entry that is not valid, or at which ᾱ stops decreasing in double
  ///   precision or reaches 0 before the last step.
  public init(betas: [Double]) throws {
    try Self.checkSteps(betas.count, "betas")
    var product = 1.0
    var alphasCumprod = [Double]()
    alphasCumprod.reserveCapacity(betas.count)
    for (i, beta) in betas.enumerated() {
      let isLast = i == betas.count - 1
      guard beta > 0, beta <= 1 else { throw ArgumentError("betas[\(i)]", "must be in (0, 1]", got: beta) }
      guard beta < 1 || isLast else {
        throw ArgumentError("betas[\(i)]", "must be below 1 before the last step", got: beta)
      }
      let next = product * (1 - beta)
      // Products below the normal numbers lose precision and stop decreasing.
      guard next >= .leastNormalMagnitude || isLast else {
        throw ArgumentError(
          "betas[\(i)]", "must leave alphas_cumprod above \(Double.leastNormalMagnitude) before the last step",
          got: beta)
      }
      guard next < product else {
        throw ArgumentError("betas[\(i)]", "must be large enough to lower alphas_cumprod", got: beta)
      }
      product = next
      alphasCumprod.append(product)
    }
    self.betas = betas
    self.alphasCumprod = alphasCumprod
  }

  /// Makes a schedule from ᾱ; β_i = 1 - ᾱ_i/ᾱ_{i-1} with ᾱ_{-1} = 1.
  ///
  /// - Parameter alphasCumprod: T ≥ 2 values, strictly decreasing from below 1, 0 only at the last step. The table is
  ///   kept as given.
  /// - Throws: `ArgumentError`, which names the first entry that breaks the rule.
  public init(alphasCumprod: [Double]) throws {
    try Self.checkSteps(alphasCumprod.count, "alphas_cumprod")
    try Self.checkDecreasing(alphasCumprod)
    var previous = 1.0
    betas = try alphasCumprod.enumerated().map { i, current in
      defer { previous = current }
      let beta = 1 - current / previous
      guard beta < 1 || i == alphasCumprod.count - 1 else {
        throw ArgumentError("alphas_cumprod[\(i)]", "must be above 2⁻⁵³ times the entry before it", got: current)
      }
      return beta
    }
    self.alphasCumprod = alphasCumprod
  }

  /// Throws if a schedule cannot have this number of steps.
  static func checkSteps(_ steps: Int, _ argument: String, atLeast least: Int = 2) throws {
    let subject = argument == "steps" ? "must be" : "must have a number of entries"
    guard steps >= least else { throw ArgumentError(argument, "\(subject) at least \(least)", got: steps) }
    guard steps <= maximumSteps else { throw ArgumentError(argument, "\(subject) at most \(maximumSteps)", got: steps) }
  }

  private static func checkDecreasing(_ alphasCumprod: [Double]) throws {
    var previous = 1.0
    for (i, value) in alphasCumprod.enumerated() {
      // Written so that NaN fails the comparison.
      guard value < previous else {
        let bound = i == 0 ? "1" : "the entry before it (\(previous))"
        throw ArgumentError("alphas_cumprod[\(i)]", "must be below \(bound)", got: value)
      }
      guard value > 0 || (value == 0 && i == alphasCumprod.count - 1) else {
        throw ArgumentError("alphas_cumprod[\(i)]", "must be above 0 (0 only at the last step)", got: value)
      }
      previous = value
    }
  }
}

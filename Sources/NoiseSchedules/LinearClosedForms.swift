/// The closed forms that Theorem 1 of the SpeeD paper gives for a schedule whose β are equally spaced.
///
/// They bound the exact forms of `ProcessIncrements` (Ψ̂ from below) and treat time as real-valued. With
/// Δ = β_T-β_1 and β₀ = β_1-Δ/T (Section A.6.1; taking β_1 itself shifts t_ad by one step), and
/// r̂_t = exp((β₀+Δt/2T)·t):
///
///     φ̂_t = β_max/r̂_t    Ψ̂_t = 2-2/r̂_t    ∂Ψ̂_t = 2(β₀+Δt/T)/r̂_t
///     t_ad = √(T/Δ)-Tβ₀/Δ    τ(r) = √(2T·ln r/Δ + T²β₀²/Δ²)-Tβ₀/Δ
public struct LinearClosedForms: Sendable {
  /// φ̂_t for t = 1…T, the bound on ‖φ_t‖²/‖E x₀‖². Shape (T,).
  public let meanBound: [Double]
  /// Ψ̂_t for t = 1…T. Shape (T,).
  public let variance: [Double]
  /// ∂Ψ̂_t for t = 1…T. Shape (T,).
  public let rate: [Double]
  /// r̂_t for t = 1…T. Shape (T,).
  public let magnitude: [Double]
  /// t_ad as a real number.
  public let accelerationEnd: Double

  /// T/Δ and β₀, which the formula for τ uses, too.
  private let stepsPerDelta: Double
  private let betaZero: Double

  /// Computes the closed forms of a schedule.
  ///
  /// - Throws: `ArgumentError` unless its β increase in equal steps (to a part in 10⁹ of their range).
  public init(of schedule: NoiseSchedule) throws {
    let betas = schedule.betas
    let steps = betas.count
    let delta = betas[steps - 1] - betas[0]
    let spacing = delta / Double(steps - 1)
    for i in betas.indices where abs(betas[i] - (betas[0] + Double(i) * spacing)) > 1e-9 * delta || delta <= 0 {
      throw ArgumentError(
        "betas[\(i)]", "must increase in equal steps from the first to the last, for the closed forms",
        got: betas[i])
    }
    let stepsPerDelta = Double(steps) / delta
    let betaZero = betas[0] - 1 / stepsPerDelta
    let times = (1...steps).map(Double.init)
    let magnitude = times.map { Double.exp((betaZero + $0 / (2 * stepsPerDelta)) * $0) }
    meanBound = magnitude.map { betas[steps - 1] / $0 }
    variance = magnitude.map { 2 - 2 / $0 }
    rate = zip(times, magnitude).map { t, r in 2 * (betaZero + t / stepsPerDelta) / r }
    accelerationEnd = stepsPerDelta.squareRoot() - stepsPerDelta * betaZero
    self.magnitude = magnitude
    self.stepsPerDelta = stepsPerDelta
    self.betaZero = betaZero
  }

  /// τ(r), where r̂ reaches r, as a real number. It may lie beyond T.
  ///
  /// - Throws: `ArgumentError` unless r is finite and above 1.
  public func convergenceStart(r: Double) throws -> Double {
    try checkMagnitude(r)
    let shift = stepsPerDelta * betaZero
    let growth = 2 * stepsPerDelta * Double.log(r)
    // √(growth + shift²) - shift, without cancellation for nearly constant β.
    return growth / ((growth + shift * shift).squareRoot() + shift)
  }
}

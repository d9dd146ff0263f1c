/// The named schedules of the literature.
extension NoiseSchedule {
  /// `linear`: β = linspace(betaStart, betaEnd)·(1000/T).
  ///
  /// The factor makes the whole process the same for any T, as in guided-diffusion and DiT. Source: Ho et al. 2020.
  ///
  /// - Parameters:
  ///   - steps: T. With the default end points it must be above 20, so that β stays below 1.
  ///   - betaStart: first β at T = 1000.
  ///   - betaEnd: last β at T = 1000.
  public static func linear(steps: Int, betaStart: Double = 1e-4, betaEnd: Double = 0.02) throws -> NoiseSchedule {
    try checkSteps(steps, "steps")
    try checkEndPoints(betaStart, betaEnd)
    let scale = 1000 / Double(steps)
    let largest = max(betaStart, betaEnd)
    guard scale * largest < 1 else {
      throw ArgumentError(
        "steps", "must be above 1000·max(beta_start, beta_end) = \(1000 * largest)", got: steps)
    }
    return try NoiseSchedule(betas: linspace(scale * betaStart, scale * betaEnd, steps))
  }

  /// `quadratic` and `scaled_linear`: β = linspace(√betaStart, √betaEnd)², not rescaled by T.
  ///
  /// The defaults are those of official SpeeD's `quad`. Stable Diffusion's `scaled_linear` goes from 0.00085 to 0.012.
  public static func quadratic(steps: Int, betaStart: Double = 1e-4, betaEnd: Double = 0.02) throws -> NoiseSchedule {
    try checkSteps(steps, "steps")
    try checkEndPoints(betaStart, betaEnd)
    return try NoiseSchedule(
      betas: linspace(betaStart.squareRoot(), betaEnd.squareRoot(), steps).map { $0 * $0 })
  }

  /// `scaled_linear`: Stable Diffusion's schedule, `quadratic` from 0.00085 to 0.012 (Rombach et al. 2022).
  public static func scaledLinear(steps: Int, betaStart: Double = 0.00085, betaEnd: Double = 0.012) throws
    -> NoiseSchedule
  {
    try quadratic(steps: steps, betaStart: betaStart, betaEnd: betaEnd)
  }

  /// `cosine`: β_i = min(1 - ᾱ((i+1)/T)/ᾱ(i/T), 0.999) with ᾱ(u) = cos²((u+0.008)/1.008·π/2).
  ///
  /// Source: Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models", 2021, Eq. 17.
  public static func cosine(steps: Int) throws -> NoiseSchedule {
    try checkSteps(steps, "steps")
    func alphaBar(_ u: Double) -> Double {
      let c = Double.cos((u + 0.008) / 1.008 * Double.pi / 2)
      return c * c
    }
    return try NoiseSchedule(
      betas: (0..<steps).map { i in
        min(1 - alphaBar(Double(i + 1) / Double(steps)) / alphaBar(Double(i) / Double(steps)), 0.999)
      })
  }

  /// `constant`: the same β at every step (DiT's `const`).
  public static func constant(steps: Int, beta: Double = 0.02) throws -> NoiseSchedule {
    try checkSteps(steps, "steps")
    guard beta > 0, beta < 1 else { throw ArgumentError("beta", "must be in (0, 1)", got: beta) }
    return try NoiseSchedule(betas: [Double](repeating: beta, count: steps))
  }

  /// `sigmoid`: β = sigmoid(linspace(-6, 6))·(betaEnd-betaStart)+betaStart, as in diffusers. Not rescaled by T.
  public static func sigmoid(steps: Int, betaStart: Double = 1e-4, betaEnd: Double = 0.02) throws -> NoiseSchedule {
    try checkSteps(steps, "steps")
    try checkEndPoints(betaStart, betaEnd)
    return try NoiseSchedule(
      betas: linspace(-6, 6, steps).map { betaStart + (betaEnd - betaStart) / (1 + Double.exp(-$0)) })
  }

  /// `warmup10` and `warmup50`: β = linspace(betaStart, betaEnd) over the first ⌊T·fraction⌋ steps, then betaEnd, as in
  /// guided-diffusion and DiT. Not rescaled by T.
  ///
  /// - Parameter fraction: in (0, 1]; 0.1 and 0.5 in these two.
  public static func warmup(
    steps: Int, fraction: Double = 0.1, betaStart: Double = 1e-4, betaEnd: Double = 0.02
  ) throws -> NoiseSchedule {
    try checkSteps(steps, "steps")
    try checkEndPoints(betaStart, betaEnd)
    guard fraction > 0, fraction <= 1 else { throw ArgumentError("fraction", "must be in (0, 1]", got: fraction) }
    let count = Int(Double(steps) * fraction)
    let rise = count > 1 ? linspace(betaStart, betaEnd, count) : [Double](repeating: betaStart, count: count)
    return try NoiseSchedule(betas: rise + [Double](repeating: betaEnd, count: steps - count))
  }

  /// `jsd`: β_i = 1/(T-i), which leaves no signal at the last step (Sohl-Dickstein et al. 2015, Section 2.4.1).
  public static func jsd(steps: Int) throws -> NoiseSchedule {
    try checkSteps(steps, "steps")
    return try NoiseSchedule(betas: (0..<steps).map { 1 / Double(steps - $0) })
  }

  private static func checkEndPoints(_ betaStart: Double, _ betaEnd: Double) throws {
    guard betaStart > 0, betaStart <= 1 else { throw ArgumentError("beta_start", "must be in (0, 1]", got: betaStart) }
    guard betaEnd > 0, betaEnd <= 1 else { throw ArgumentError("beta_end", "must be in (0, 1]", got: betaEnd) }
  }

  /// `count` ≥ 2 equally spaced values; the last is `last` itself, as in NumPy.
  private static func linspace(_ first: Double, _ last: Double, _ count: Int) -> [Double] {
    let spacing = (last - first) / Double(count - 1)
    var values = (0..<count).map { Double($0) * spacing + first }
    values[count - 1] = last
    return values
  }
}

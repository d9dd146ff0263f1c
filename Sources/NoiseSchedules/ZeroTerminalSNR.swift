extension NoiseSchedule {
  /// The schedule, shifted and scaled so that its last step has no signal: √ᾱ falls from the same first value to 0.
  ///
  ///     √ᾱ'_i = √ᾱ_0·(√ᾱ_i-√ᾱ_{T-1})/(√ᾱ_0-√ᾱ_{T-1})
  ///
  /// Source: Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed", WACV 2024, Algorithm 1.
  ///
  /// - Throws: `ArgumentError` if two entries become equal in double precision.
  public func zeroTerminalSNR() throws -> NoiseSchedule {
    let roots = sqrtAlphasCumprod
    let (first, last) = (roots[0], roots[steps - 1])
    return try NoiseSchedule(
      alphasCumprod: roots.enumerated().map { i, root in
        // The first entry is kept exactly.
        guard i > 0 else { return alphasCumprod[0] }
        let moved = first * (root - last) / (first - last)
        return moved * moved
      })
  }
}

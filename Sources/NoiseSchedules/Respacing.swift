/// Chooses the steps of a schedule for sampling with fewer than all of them.
public enum Respacing {
  /// Steps spread evenly over sections of equal length.
  ///
  /// Each section includes its first and last step, or only its first if one step is taken. Positions are accumulated and
  /// rounded half to even. Source: openai/guided-diffusion, `space_timesteps`.
  ///
  /// - Parameters:
  ///   - sectionCounts: the steps to take of each section, at least 1. The first (T mod sections) sections are longer by one.
  ///   - steps: T.
  /// - Throws: `ArgumentError` if a section has fewer steps than its count.
  public static func sections(_ sectionCounts: [Int], of steps: Int) throws -> [Int] {
    try NoiseSchedule.checkSteps(steps, "steps")
    guard !sectionCounts.isEmpty, sectionCounts.count <= steps else {
      throw ArgumentError("sections", "must be in [1, \(steps)]", got: sectionCounts.count)
    }
    var timesteps = [Int]()
    var start = 0
    for (i, count) in sectionCounts.enumerated() {
      let size = steps / sectionCounts.count + (i < steps % sectionCounts.count ? 1 : 0)
      guard count >= 1, count <= size else {
        throw ArgumentError("section_counts[\(i)]", "must be in [1, \(size)], the steps of that section", got: count)
      }
      let stride = count == 1 ? 1 : Double(size - 1) / Double(count - 1)
      var position = 0.0
      for _ in 0..<count {
        timesteps.append(start + Int(position.rounded(.toNearestOrEven)))
        position += stride
      }
      start += size
    }
    return timesteps
  }

  /// DDIM's steps: 0, s, 2s, … with the smallest whole stride s that gives `count` of them.
  ///
  /// Source: Song et al., "Denoising Diffusion Implicit Models", 2021; openai/guided-diffusion, `ddimN`.
  ///
  /// - Throws: `ArgumentError` if there is no such stride.
  public static func ddim(_ count: Int, of steps: Int) throws -> [Int] {
    try NoiseSchedule.checkSteps(steps, "steps")
    let strides = 1..<steps
    guard count >= 1, let stride = strides.first(where: { (steps + $0 - 1) / $0 == count }) else {
      throw ArgumentError("count", "must be the number of multiples of a whole stride below \(steps)", got: count)
    }
    return Array(Swift.stride(from: 0, to: steps, by: stride))
  }
}

extension NoiseSchedule {
  /// The schedule of a subset of its steps, with the ᾱ of these.
  ///
  /// - Parameter timesteps: two or more, 0-based and strictly increasing.
  /// - Throws: `ArgumentError`, which names the first that is not valid.
  public func respaced(_ timesteps: [Int]) throws -> NoiseSchedule {
    for (i, t) in timesteps.enumerated() {
      guard t >= 0, t < steps, i == 0 || t > timesteps[i - 1] else {
        throw ArgumentError("timesteps[\(i)]", "must be in [0, \(steps)) and above the one before it", got: t)
      }
    }
    try Self.checkSteps(timesteps.count, "timesteps")
    return try NoiseSchedule(alphasCumprod: timesteps.map { alphasCumprod[$0] })
  }
}

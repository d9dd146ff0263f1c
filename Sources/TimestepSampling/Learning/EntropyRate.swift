import NoiseSchedules

/// How much a bin of noise levels tells about the data: the conditional entropy rate, estimated from losses.
///
/// By I-MMSE, dH/dσ = mmse(σ)/σ³, so that per ln σ it is mmse/σ², which is the loss of ε. A gate σⁿ/(σⁿ+cⁿ) suppresses
/// low noise, where the estimate is large and tells nothing about the data's structure.
///
/// Source: Raya et al., "Noise Scheduling as Information-Guided Allocation in Diffusion Training" (InfoNoise), arXiv
/// 2602.18647v2, 2026.
struct EntropyRate: Sendable {
  /// ln σ of each bin, rising.
  let logSigma: [Double]
  /// The width of each bin in ln σ.
  let widths: [Double]

  /// The gated rate's mass in each bin, relative to the largest.
  ///
  /// - Parameters:
  ///   - losses: the mean ε loss of each bin, some above 0.
  ///   - gate: n, and either c or p.
  func masses(of losses: [Double], gate: InfoNoiseSampling.Gate) -> [Double] {
    let logC = gate.c.map { Double.log($0) } ?? onset(of: losses, threshold: gate.threshold)
    let masses = losses.indices.map { i in
      losses[i] * widths[i] / (1 + Double.exp(gate.order * (logC - logSigma[i])))
    }
    let most = masses.max() ?? 0
    return most > 0 ? masses.map { $0 / most } : masses
  }

  /// ln c of the largest σ whose rate per dσ, mmse/σ³, is at least `threshold` times the largest one.
  ///
  /// The scan starts at the highest σ. (The place of the largest rate itself is the lowest σ, and no gate.)
  func onset(of losses: [Double], threshold: Double) -> Double {
    let rates = zip(losses, logSigma).map { Double.log($0) - $1 }
    let least = (rates.max() ?? 0) + Double.log(threshold)
    let place = rates.lastIndex { $0 >= least } ?? rates.count - 1
    return logSigma[place]
  }
}

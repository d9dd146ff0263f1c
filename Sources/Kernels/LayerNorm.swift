// Layer normalization without parameters, and its modulation by adaLN, in one pass:
//
//   x̂ = (x - mean(x))/√(var(x) + 1e-6)
//   y = x̂·(1 + scale) + shift
//
// Each row is a token; shift and scale have one row per sample. Peebles and Xie 2023 (DiT), section 3.2.

/// The ε that is added to the variance, as in the official DiT.
public let layerNormEpsilon: Float = 1e-6

/// y for some samples of `length` rows each.
///
/// - Parameters:
///   - y: of either precision.
///   - statistics: receives each row's mean and 1/√(var + ε), which `modulatedLayerNormBackward` needs.
public func modulatedLayerNormForward(
  _ x: Matrix, shift: Matrix, scale: Matrix, into y: Matrix, statistics: Matrix, length: Int, rows: Range<Int>
) {
  let columns = x.columns
  let reciprocal = 1 / Float(columns)
  for r in rows {
    let (x, sample) = (x.row(r), r / length)
    let (shift, scale) = (shift.row(sample), scale.row(sample))
    var total = Vector.zero
    forEachVector(columns) { i, n in total += load(x + i, n) }
    let mean = total.horizontalSum * reciprocal
    var squares = Vector.zero
    forEachVector(columns) { i, n in
      let centered = masked(load(x + i, n) - splat(mean), n)
      squares = squares.addingProduct(centered, centered)
    }
    let scaling = 1 / (squares.horizontalSum * reciprocal + layerNormEpsilon).squareRoot()
    @inline(__always)
    func modulated(_ i: Int, _ n: Int) -> Vector {
      let normal = (load(x + i, n) - splat(mean)) * splat(scaling)
      return load(shift + i, n).addingProduct(normal, splat(1) + load(scale + i, n))
    }
    y.set(r, modulated)
    statistics.row(r)[0] = mean
    statistics.row(r)[1] = scaling
  }
}

/// Gradients for some whole samples of `length` rows each.
///
/// - Parameters:
///   - dShift: its rows receive Σ dy over the sample's tokens.
///   - dScale: its rows receive Σ dy·x̂.
///   - samples: the samples; their tokens are rows samples.lowerBound·length on.
public func modulatedLayerNormBackward(
  _ x: Matrix, scale: Matrix, statistics: Matrix, dy: Matrix, dx: GradientTarget?, dShift: GradientTarget?,
  dScale: GradientTarget?, length: Int, samples: Range<Int>
) {
  let columns = x.columns
  let reciprocal = 1 / Float(columns)
  for sample in samples {
    let scale = scale.row(sample)
    let dShift = dShift?.startedRow(sample), dScale = dScale?.startedRow(sample)
    for r in (sample &* length)..<((sample &+ 1) &* length) {
      let (x, dy) = (x.row(r), dy.row(r))
      let (mean, scaling) = (splat(statistics.row(r)[0]), splat(statistics.row(r)[1]))
      var total = Vector.zero
      var projection = Vector.zero
      forEachVector(columns) { i, n in
        let dy = load(dy + i, n)
        let normal = (load(x + i, n) - mean) * scaling
        if let dShift { store(load(dShift + i, n) + dy, dShift + i, n) }
        if let dScale { store(load(dScale + i, n).addingProduct(dy, normal), dScale + i, n) }
        // After the last column dy is 0.
        let dNormal = dy * (splat(1) + load(scale + i, n))
        total += dNormal
        projection = projection.addingProduct(dNormal, normal)
      }
      guard let dx else { continue }
      let result = dx.matrix.row(r)
      let (meanGradient, meanProjection) = (
        splat(total.horizontalSum * reciprocal), splat(projection.horizontalSum * reciprocal)
      )
      forEachVector(columns) { i, n in
        let normal = (load(x + i, n) - mean) * scaling
        let dNormal = load(dy + i, n) * (splat(1) + load(scale + i, n))
        let gradient = (dNormal - meanGradient - normal * meanProjection) * scaling
        store(gradient, result + i, n, adding: dx.accumulates)
      }
    }
  }
}

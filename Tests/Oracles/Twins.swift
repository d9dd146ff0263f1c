#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// What each operation computes, in double precision, one value after the other, as its formula says.
public enum Twin {
  /// y = x·Wᵀ + b.
  public static func linear(_ x: Table, weight: Table, bias: Table) -> Table {
    Table(x.rows, weight.rows) { r, o in
      var y = bias[0, o]
      for i in 0..<x.columns { y += x[r, i] * weight[o, i] }
      return y
    }
  }

  /// ½x(1 + tanh(√(2/π)(x + 0.044715x³))).
  public static func gelu(_ x: Table) -> Table {
    x.map { 0.5 * $0 * (1 + tanh((2 / Double.pi).squareRoot() * ($0 + 0.044715 * $0 * $0 * $0))) }
  }

  /// x/(1 + e^-x).
  public static func silu(_ x: Table) -> Table { x.map { $0 / (1 + exp(-$0)) } }

  /// (x - mean)/√(variance + 1e-6)·(1 + scale) + shift, with one shift and scale for each sample of `length` rows.
  public static func modulatedLayerNorm(_ x: Table, shift: Table, scale: Table, length: Int) -> Table {
    let n = Double(x.columns)
    let moments = (0..<x.rows).map { r in
      let mean = x.row(r).reduce(0, +) / n
      return (mean: mean, variance: x.row(r).reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / n)
    }
    return Table(x.rows, x.columns) { r, c in
      let normal = (x[r, c] - moments[r].mean) / (moments[r].variance + 1e-6).squareRoot()
      return normal * (1 + scale[r / length, c]) + shift[r / length, c]
    }
  }

  /// x + gate·h, with one gate for each sample of `length` rows.
  public static func gatedSum(_ x: Table, gate: Table, _ h: Table, length: Int) -> Table {
    Table(x.rows, x.columns) { x[$0, $1] + gate[$0 / length, $1] * h[$0, $1] }
  }

  /// x + table, whose rows are those of each sample of `length` rows.
  public static func tableSum(_ x: Table, table: Table, length: Int) -> Table {
    Table(x.rows, x.columns) { x[$0, $1] + table[$0 % length, $1] }
  }

  /// softmax(q·kᵀ/√d + bias)·v for each sample and head of d columns.
  public static func attention(
    _ q: Table, _ k: Table, _ v: Table, heads: Int, samples: Int,
    bias: (_ head: Int, _ sample: Int, _ query: Int, _ key: Int) -> Double = { _, _, _, _ in 0 }
  ) -> Table {
    let (queries, keys, size) = (q.rows / max(samples, 1), k.rows / max(samples, 1), q.columns / heads)
    var y = Table(q.rows, v.columns) { _, _ in 0 }
    for sample in 0..<samples {
      for head in 0..<heads {
        for r in sample * queries..<(sample + 1) * queries {
          let scores = (sample * keys..<(sample + 1) * keys).map { key in
            let product = (head * size..<(head + 1) * size).reduce(0) { $0 + q[r, $1] * k[key, $1] }
            return product / Double(size).squareRoot() + bias(head, sample, r - sample * queries, key - sample * keys)
          }
          let largest = scores.max() ?? 0
          let powers = scores.map { exp($0 - largest) }
          let total = powers.reduce(0, +)
          for c in head * size..<(head + 1) * size {
            y[r, c] = (0..<keys).reduce(0) { $0 + powers[$1] / total * v[sample * keys + $1, c] }
          }
        }
      }
    }
    return y
  }

  /// cos(t·f), then sin(t·f), for f = 10000^(-i/(half-shift)). An odd last column is 0.
  public static func timestepEmbedding(_ t: [Double], columns: Int, frequencyShift: Double = 0) -> Table {
    let half = columns / 2
    return Table(t.count, columns) { r, c in
      guard c < 2 * half else { return 0 }
      let angle = t[r] * pow(10000, -Double(c % half) / (Double(half) - frequencyShift))
      return c < half ? cos(angle) : sin(angle)
    }
  }

  /// Rows of a table.
  public static func lookup(_ labels: [Int], table: Table) -> Table {
    Table(labels.count, table.columns) { table[labels[$0], $1] }
  }

  /// Patches of square images, each a row, in the order (channel, row, column) or (row, column, channel).
  public static func patchify(_ images: Table, channels: Int, size: Int, patch: Int, channelsFirst: Bool) -> Table {
    let side = size / patch
    return Table(images.rows * side * side, channels * patch * patch) { r, c in
      let (sample, token) = r.quotientAndRemainder(dividingBy: side * side)
      let (channel, y, x) =
        channelsFirst
        ? (c / (patch * patch), c / patch % patch, c % patch)
        : (c % channels, c / channels / patch, c / channels % patch)
      return images[sample, (channel * size + token / side * patch + y) * size + token % side * patch + x]
    }
  }

  /// Images of patches: each pixel is looked for among the patches.
  public static func unpatchify(_ patches: Table, channels: Int, size: Int, patch: Int, channelsFirst: Bool) -> Table {
    let side = size / patch
    return Table(patches.rows / (side * side), channels * size * size) { sample, c in
      let (channel, y, x) = (c / (size * size), c / size % size, c % size)
      let (row, column) = (y % patch, x % patch)
      let place =
        channelsFirst ? (channel * patch + row) * patch + column : (row * patch + column) * channels + channel
      return patches[sample * side * side + y / patch * side + x / patch, place]
    }
  }
}

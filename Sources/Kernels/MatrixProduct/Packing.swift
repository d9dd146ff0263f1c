/// Copies `rows`×`columns` of a matrix into panels of `width` columns: element (k, j) of a panel is at k·width + j.
///
/// The last panel has the remaining columns, padded with zeros to a whole vector. Panels are contiguous.
func packPanels(_ source: Matrix, rows: Int, columns: Int, width: Int, into out: UnsafeMutablePointer<Float>) {
  // Whole rows at a time: the processor prefetches along rows, not across them.
  for k in 0..<rows {
    var (first, panel) = (0, out)
    while first < columns {
      let count = min(width, columns &- first)
      let padded = roundedToVector(count)
      let (from, to) = (source.row(k) + first, panel + k &* padded)
      forEachVector(count) { i, n in store(load(from + i, n), to + i, lanes) }
      panel += rows &* padded
      first &+= count
    }
  }
}

/// The same for a matrix stored transposed, as `columns` rows of `rows` floats.
func packTransposedPanels(
  _ source: Matrix, rows: Int, columns: Int, width: Int, into out: UnsafeMutablePointer<Float>
) {
  var (first, panel) = (0, out)
  while first < columns {
    let count = min(width, columns &- first)
    let padded = roundedToVector(count)
    var block = 0
    while block < padded {
      let lines = min(lanes, count &- block)
      var k = 0
      while k &+ lanes <= rows, lines == lanes {
        transposeBlock(source.row(first &+ block) + k, source.stride, into: panel + k &* padded + block, padded)
        k &+= lanes
      }
      while k < rows {
        let to = panel + k &* padded + block
        for j in 0..<lanes { to[j] = j < lines ? source.row(first &+ block &+ j)[k] : 0 }
        k &+= 1
      }
      block &+= lanes
    }
    panel += rows &* padded
    first &+= count
  }
}

/// Copies up to sixteen columns of A over k rows, from a matrix stored transposed, into two strips of eight: element (i, k)
/// of a strip is at k·8 + i. Missing columns are 0.
func packStrips(
  _ source: Matrix, rows: Int, columns: Int, into first: UnsafeMutablePointer<Float>,
  _ second: UnsafeMutablePointer<Float>
) {
  for k in 0..<rows {
    let values = load(source.row(k), columns)
    prefetch(source.row(k &+ rowsAhead), 1)
    UnsafeMutableRawPointer(first + k &* tileRows).storeBytes(of: values.lowHalf, as: SIMD8<Float>.self)
    UnsafeMutableRawPointer(second + k &* tileRows).storeBytes(of: values.highHalf, as: SIMD8<Float>.self)
  }
}

/// Rows are pages apart, where the processor does not prefetch by itself.
private let rowsAhead = 16

@inline(__always)
func roundedToVector(_ count: Int) -> Int { (count &+ lanes &- 1) / lanes &* lanes }

/// Sixteen vectors, in registers.
private struct VectorBlock {
  var v0, v1, v2, v3, v4, v5, v6, v7: Vector
  var v8, v9, v10, v11, v12, v13, v14, v15: Vector

  @inline(__always)
  init(_ p: UnsafePointer<Float>, _ stride: Int) {
    v0 = load(p, lanes)
    v1 = load(p + stride, lanes)
    v2 = load(p + 2 &* stride, lanes)
    v3 = load(p + 3 &* stride, lanes)
    v4 = load(p + 4 &* stride, lanes)
    v5 = load(p + 5 &* stride, lanes)
    v6 = load(p + 6 &* stride, lanes)
    v7 = load(p + 7 &* stride, lanes)
    v8 = load(p + 8 &* stride, lanes)
    v9 = load(p + 9 &* stride, lanes)
    v10 = load(p + 10 &* stride, lanes)
    v11 = load(p + 11 &* stride, lanes)
    v12 = load(p + 12 &* stride, lanes)
    v13 = load(p + 13 &* stride, lanes)
    v14 = load(p + 14 &* stride, lanes)
    v15 = load(p + 15 &* stride, lanes)
  }

  /// Interleaves vectors i and i + 8. Done four times, it rotates the bits of each index by half, which transposes the
  /// block.
  @inline(__always)
  mutating func interleave() {
    let old = self
    (v0, v1) = interleaved(old.v0, old.v8)
    (v2, v3) = interleaved(old.v1, old.v9)
    (v4, v5) = interleaved(old.v2, old.v10)
    (v6, v7) = interleaved(old.v3, old.v11)
    (v8, v9) = interleaved(old.v4, old.v12)
    (v10, v11) = interleaved(old.v5, old.v13)
    (v12, v13) = interleaved(old.v6, old.v14)
    (v14, v15) = interleaved(old.v7, old.v15)
  }

  @inline(__always)
  func store(_ p: UnsafeMutablePointer<Float>, _ stride: Int) {
    Kernels.store(v0, p, lanes)
    Kernels.store(v1, p + stride, lanes)
    Kernels.store(v2, p + 2 &* stride, lanes)
    Kernels.store(v3, p + 3 &* stride, lanes)
    Kernels.store(v4, p + 4 &* stride, lanes)
    Kernels.store(v5, p + 5 &* stride, lanes)
    Kernels.store(v6, p + 6 &* stride, lanes)
    Kernels.store(v7, p + 7 &* stride, lanes)
    Kernels.store(v8, p + 8 &* stride, lanes)
    Kernels.store(v9, p + 9 &* stride, lanes)
    Kernels.store(v10, p + 10 &* stride, lanes)
    Kernels.store(v11, p + 11 &* stride, lanes)
    Kernels.store(v12, p + 12 &* stride, lanes)
    Kernels.store(v13, p + 13 &* stride, lanes)
    Kernels.store(v14, p + 14 &* stride, lanes)
    Kernels.store(v15, p + 15 &* stride, lanes)
  }
}

/// Transposes 16×16 floats.
@inline(__always)
private func transposeBlock(
  _ source: UnsafePointer<Float>, _ sourceStride: Int, into out: UnsafeMutablePointer<Float>, _ stride: Int
) {
  var block = VectorBlock(source, sourceStride)
  block.interleave()
  block.interleave()
  block.interleave()
  block.interleave()
  block.store(out, stride)
}

/// x₀y₀x₁y₁… of the lower halves, and of the upper ones.
@inline(__always)
private func interleaved(_ x: Vector, _ y: Vector) -> (Vector, Vector) {
  var (low, high) = (Vector.zero, Vector.zero)
  low.evenHalf = x.lowHalf
  low.oddHalf = y.lowHalf
  high.evenHalf = x.highHalf
  high.oddHalf = y.highHalf
  return (low, high)
}

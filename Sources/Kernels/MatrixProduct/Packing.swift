/// Copies `rows`×`columns` of a matrix into panels of `width` columns: element (k, j) of a panel is at k·width + j.
///
/// The last panel has the remaining columns, padded with zeros to a whole vector. Panels are contiguous.
func packPanels<Element: ProductElement>(
  _: Element.Type, _ source: Matrix, rows: Int, columns: Int, width: Int, into out: UnsafeMutablePointer<Float>
) {
  let elements = Element.count(rows)
  // Whole rows at a time: the processor prefetches along rows, not across them.
  for k in 0..<elements {
    let lines = Element.lines(of: source, k, rows: rows)
    var (first, panel) = (0, out)
    while first < columns {
      let count = min(width, columns &- first)
      let padded = roundedToVector(count)
      let to = panel + k &* padded
      forEachVector(count) { i, n in store(lines.elements(first &+ i, n), to + i, lanes) }
      panel += elements &* padded
      first &+= count
    }
  }
}

/// The same for a matrix stored transposed, as `columns` rows of `rows` floats.
func packTransposedPanels<Element: ProductElement>(
  _: Element.Type, _ source: Matrix, rows: Int, columns: Int, width: Int, into out: UnsafeMutablePointer<Float>
) {
  let elements = Element.count(rows)
  var (first, panel) = (0, out)
  while first < columns {
    let count = min(width, columns &- first)
    let padded = roundedToVector(count)
    var block = 0
    while block < padded {
      let (lines, start) = (min(lanes, count &- block), source.from(first &+ block))
      var k = 0
      while k < elements {
        let (floats, to) = (min(lanes &* Element.depth, rows &- k &* Element.depth), panel + k &* padded + block)
        let from = Matrix(start.base + Element.place(k &* Element.depth), columns: floats, stride: start.stride)
        if lines == lanes, floats == lanes &* Element.depth {
          transpose(Element.self, from, into: to, padded)
        } else {
          transposePart(Element.self, from, lines: lines, into: to, padded)
        }
        k &+= lanes
      }
      block &+= lanes
    }
    panel += elements &* padded
    first &+= count
  }
}

/// Copies rows of A, whose elements are then contiguous.
func packRows<Element: ProductElement>(_: Element.Type, _ source: Matrix, rows: Int, into out: Matrix) {
  for r in 0..<rows {
    let (from, to) = (source.row(r), out.row(r))
    forEachVector(out.columns) { i, n in
      let floats = min(lanes &* Element.depth, source.columns &- i &* Element.depth)
      store(Element.along(from + i &* Element.depth, floats), to + i, n)
    }
  }
}

/// Copies columns of A over k rows, from a matrix stored transposed, into strips: element (i, k) of a strip is at
/// k·`tileRows` + i. What a last strip holds beyond the columns is undefined.
///
/// Strips of six are stored as eight, of which the next line overwrites two; hence `stripSize` is larger than a strip.
func packStrips<Element: ProductElement>(
  _: Element.Type, _ source: Matrix, rows: Int, columns: Int, into strips: UnsafeMutablePointer<Float>, stripSize: Int
) {
  let elements = Element.count(rows)
  // Whole rows at a time: the processor prefetches along rows, not across them.
  for k in 0..<elements {
    let lines = Element.lines(of: source, k, rows: rows)
    // A row that another follows may be read beyond its columns.
    let isFollowed = k &+ 1 < elements && columns >= lanes
    var (column, to) = (0, strips + k &* tileRows)
    while column < columns {
      let count = isFollowed ? lanes : min(lanes, columns &- column)
      let values = lines.elements(column, count)
      UnsafeMutableRawPointer(to).storeBytes(of: values.lowHalf, as: SIMD8<Float>.self)
      UnsafeMutableRawPointer(to + stripSize).storeBytes(
        of: tileRows == 8 ? values.highHalf : values.sixToThirteen, as: SIMD8<Float>.self)
      column &+= 2 &* tileRows
      to += 2 &* stripSize
    }
  }
}

extension SIMD16<Float> {
  /// Elements 6 to 13.
  @inline(__always)
  fileprivate var sixToThirteen: SIMD8<Float> {
    let (second, third, fourth) = (lowHalf.highHalf, highHalf.lowHalf, highHalf.highHalf)
    return SIMD8(
      lowHalf: SIMD4(lowHalf: second.highHalf, highHalf: third.lowHalf),
      highHalf: SIMD4(lowHalf: third.highHalf, highHalf: fourth.lowHalf))
  }
}

@inline(__always)
func roundedToVector(_ count: Int) -> Int { (count &+ lanes &- 1) / lanes &* lanes }

/// Sixteen vectors, in registers.
private struct VectorBlock {
  var v0, v1, v2, v3, v4, v5, v6, v7: Vector
  var v8, v9, v10, v11, v12, v13, v14, v15: Vector

  @inline(__always)
  init(_ line: (_ index: Int) -> Vector) {
    v0 = line(0)
    v1 = line(1)
    v2 = line(2)
    v3 = line(3)
    v4 = line(4)
    v5 = line(5)
    v6 = line(6)
    v7 = line(7)
    v8 = line(8)
    v9 = line(9)
    v10 = line(10)
    v11 = line(11)
    v12 = line(12)
    v13 = line(13)
    v14 = line(14)
    v15 = line(15)
  }

  @inline(__always)
  mutating func transpose() {
    interleave()
    interleave()
    interleave()
    interleave()
  }

  /// Interleaves vectors i and i + 8. Done four times, it rotates the bits of each index by half, which transposes the
  /// block.
  @inline(__always)
  private mutating func interleave() {
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

  /// Stores the first vectors.
  @inline(__always)
  func store(_ p: UnsafeMutablePointer<Float>, _ stride: Int, count: Int) {
    @inline(__always)
    func line(_ index: Int, _ v: Vector) {
      if index < count { Kernels.store(v, p + index &* stride, lanes) }
    }
    line(0, v0)
    line(1, v1)
    line(2, v2)
    line(3, v3)
    line(4, v4)
    line(5, v5)
    line(6, v6)
    line(7, v7)
    line(8, v8)
    line(9, v9)
    line(10, v10)
    line(11, v11)
    line(12, v12)
    line(13, v13)
    line(14, v14)
    line(15, v15)
  }
}

/// Transposes sixteen lines of sixteen elements.
@inline(__always)
private func transpose<Element: ProductElement>(
  _: Element.Type, _ source: Matrix, into out: UnsafeMutablePointer<Float>, _ stride: Int
) {
  var block = VectorBlock { Element.along(source.row($0), lanes &* Element.depth) }
  block.transpose()
  block.store(out, stride, count: lanes)
}

/// Transposes fewer lines, or lines of fewer elements. Missing ones are 0.
@inline(never)
private func transposePart<Element: ProductElement>(
  _: Element.Type, _ source: Matrix, lines: Int, into out: UnsafeMutablePointer<Float>, _ stride: Int
) {
  var block = VectorBlock { $0 < lines ? Element.along(source.row($0), source.columns) : .zero }
  block.transpose()
  block.store(out, stride, count: Element.count(source.columns))
}

/// x₀y₀x₁y₁… of the lower halves, and of the upper ones.
@inline(__always)
func interleaved(_ x: Vector, _ y: Vector) -> (Vector, Vector) {
  var (low, high) = (Vector.zero, Vector.zero)
  low.evenHalf = x.lowHalf
  low.oddHalf = y.lowHalf
  high.evenHalf = x.highHalf
  high.oddHalf = y.highHalf
  return (low, high)
}

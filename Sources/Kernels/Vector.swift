import COpenBLAS

/// The vector that kernels compute with.
typealias Vector = SIMD16<Float>

/// The floats of a `Vector`.
let lanes = 16

/// Calls `body(offset, count)` for each vector of `count` floats. Only the last may have fewer than 16.
///
/// After inlining, `count` is a constant in the loop, and `load` and `store` are single instructions there. A long body is
/// inlined only if it is a function marked so; a closure would be called for each vector.
@inline(__always)
func forEachVector(_ count: Int, _ body: (_ offset: Int, _ count: Int) -> Void) {
  var offset = 0
  while offset &+ lanes <= count {
    body(offset, lanes)
    offset &+= lanes
  }
  if offset < count { body(offset, count &- offset) }
}

/// A vector of `count` floats, padded with zeros.
@inline(__always)
func load(_ pointer: UnsafePointer<Float>, _ count: Int) -> Vector {
  if count == lanes { return UnsafeRawPointer(pointer).loadUnaligned(as: Vector.self) }
  var vector = Vector.zero
  for i in 0..<count { vector[i] = pointer[i] }
  return vector
}

/// Stores a vector's first `count` floats.
@inline(__always)
func store(_ vector: Vector, _ pointer: UnsafeMutablePointer<Float>, _ count: Int) {
  if count == lanes {
    UnsafeMutableRawPointer(pointer).storeBytes(of: vector, as: Vector.self)
  } else {
    for i in 0..<count { pointer[i] = vector[i] }
  }
}

/// Stores a vector, or adds it to what is there.
@inline(__always)
func store(_ vector: Vector, _ pointer: UnsafeMutablePointer<Float>, _ count: Int, adding: Bool) {
  store(adding ? load(pointer, count) + vector : vector, pointer, count)
}

/// The vector with zeros from place `count` on.
@inline(__always)
func masked(_ vector: Vector, _ count: Int) -> Vector {
  count == lanes ? vector : speediff_zero_where_less(splat(Float(count) - 0.5), places, vector)
}

/// A vector of `count` floats, padded with -∞.
@inline(__always)
func loadPadded(_ pointer: UnsafePointer<Float>, _ count: Int) -> Vector {
  let vector = load(pointer, count)
  return count == lanes
    ? vector : vector + speediff_zero_where_less(places, splat(Float(count) - 0.5), splat(-.infinity))
}

/// 0, 1, 2 and so on.
@inline(__always)
private var places: Vector { Vector(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) }

/// The same float everywhere.
@inline(__always)
func splat(_ value: Float) -> Vector { Vector(repeating: value) }

/// a where it is less than b, else b; b where either is NaN.
@inline(__always)
func lesser(_ a: Vector, _ b: Vector) -> Vector { speediff_lesser(a, b) }

/// a where it is greater than b, else b; b where either is NaN.
@inline(__always)
func greater(_ a: Vector, _ b: Vector) -> Vector { speediff_greater(a, b) }

extension SIMD16<Float> {
  /// x + a·b, rounded once if the processor has an instruction for it; otherwise that would be a call for each float.
  @inline(__always)
  func addingProduct(_ a: Self, _ b: Self) -> Self {
    speediff_has_fused_products() != 0 ? fused(self, a, b) : self + a * b
  }

  /// The sum, by halves; `sum()` adds one place after the other.
  @inline(__always)
  var horizontalSum: Float {
    let eight = lowHalf + highHalf
    let four = eight.lowHalf + eight.highHalf
    let two = four.lowHalf + four.highHalf
    return two.x + two.y
  }

  /// The maximum, by halves.
  @inline(__always)
  var horizontalMaximum: Float { speediff_greatest(self) }
}

/// The standard library's x + a·b, which `Vector` shadows with its own.
@inline(__always)
private func fused<V: SIMD>(_ x: V, _ a: V, _ b: V) -> V where V.Scalar: FloatingPoint { x.addingProduct(a, b) }

/// Prefetches the memory of some vectors that will soon be read. Invalid addresses are ignored.
@inline(__always)
func prefetch(_ pointer: UnsafePointer<Float>, _ vectors: Int) {
  for i in 0..<vectors { speediff_prefetch(pointer + i &* lanes) }
}

/// The same for vectors that will be written.
@inline(__always)
func prefetchToWrite(_ pointer: UnsafePointer<Float>, _ vectors: Int) {
  for i in 0..<vectors { speediff_prefetch_to_write(pointer + i &* lanes) }
}

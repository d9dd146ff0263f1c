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
  if count == lanes { return vector }
  var result = vector
  for i in count..<lanes { result[i] = 0 }
  return result
}

/// The same float everywhere.
@inline(__always)
func splat(_ value: Float) -> Vector { Vector(repeating: value) }

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
  var horizontalMaximum: Float {
    let eight = lowHalf.replacing(with: highHalf, where: highHalf .> lowHalf)
    let four = eight.lowHalf.replacing(with: eight.highHalf, where: eight.highHalf .> eight.lowHalf)
    let two = four.lowHalf.replacing(with: four.highHalf, where: four.highHalf .> four.lowHalf)
    return Swift.max(two.x, two.y)
  }
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

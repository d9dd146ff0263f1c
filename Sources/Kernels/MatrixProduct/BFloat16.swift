import COpenBLAS

/// Pairs of bfloat16, the first of which is in the lower half of an element.
///
/// Floats are rounded to the nearest one, ties to even. Subnormal floats become 0, and so do subnormal sums, before they
/// are rounded to their few digits. A sum first gets the product of the second of a pair, then that of the first.
protocol BFloat16Pairs: ProductElement {
  /// Thirty-two floats: those of x, then those of y.
  static func pairs(_ x: Vector, _ y: Vector) -> Vector
  /// Sixteen pairs with one float of each vector.
  static func columns(_ first: Vector, _ second: Vector) -> Vector
}

extension BFloat16Pairs {
  static var depth: Int { 2 }
  static var areRows: Bool { false }

  @inline(__always)
  static func along(_ pointer: UnsafePointer<Float>, _ count: Int) -> Vector {
    if count == 2 * lanes { return pairs(load(pointer, lanes), load(pointer + lanes, lanes)) }
    return pairs(load(pointer, min(count, lanes)), load(pointer + min(count, lanes), max(0, count &- lanes)))
  }

  @inline(__always)
  static func across(_ first: UnsafePointer<Float>, _ second: UnsafePointer<Float>?, _ count: Int) -> Vector {
    columns(load(first, count), second.map { load($0, count) } ?? .zero)
  }
}

/// A factor that is kept as rows of pairs, which the producer has rounded. An odd last number has a 0 beside it.
enum KeptPairs<Pairs: BFloat16Pairs>: ProductElement {
  static var depth: Int { 2 }
  static var areRows: Bool { true }

  @inline(__always)
  static func sum(_ sum: Vector, plus a: Vector, times b: Vector) -> Vector { Pairs.sum(sum, plus: a, times: b) }

  @inline(__always)
  static func along(_ pointer: UnsafePointer<Float>, _ count: Int) -> Vector { load(pointer, Self.count(count)) }

  @inline(__always)
  static func across(_ first: UnsafePointer<Float>, _ second: UnsafePointer<Float>?, _ count: Int) -> Vector {
    let (x, y) = (halves(first, count), second.map { halves($0, count) } ?? .zero)
    let low = SIMD8<UInt32>(repeating: 0xFFFF), bits = SIMD8<UInt32>(repeating: 16)
    var result = SIMD16<UInt32>()
    result.evenHalf = (x & low) | (y &<< bits)
    result.oddHalf = (x &>> bits) | (y & ~low)
    return unsafeBitCast(result, to: Vector.self)
  }

}

/// Up to sixteen numbers of a row of pairs.
@inline(__always)
func halves(_ pointer: UnsafePointer<Float>, _ count: Int) -> SIMD8<UInt32> {
  if count == lanes { return UnsafeRawPointer(pointer).loadUnaligned(as: SIMD8<UInt32>.self) }
  return unsafeBitCast(load(pointer, Precision.bfloat16.floats(count)).lowHalf, to: SIMD8<UInt32>.self)
}

extension BFloat16Pairs {
  /// Two vectors of floats, which follow each other in a row of pairs.
  @inline(__always)
  static func floats(_ pairs: Vector) -> (Vector, Vector) {
    let bits = unsafeBitCast(pairs, to: SIMD16<UInt32>.self)
    let first = unsafeBitCast(bits &<< SIMD16(repeating: 16), to: Vector.self)
    return interleaved(first, unsafeBitCast(bits & SIMD16(repeating: 0xFFFF_0000), to: Vector.self))
  }
}

/// By the processor's instructions.
enum BFloat16Instructions: BFloat16Pairs {
  @inline(__always)
  static func sum(_ sum: Vector, plus a: Vector, times b: Vector) -> Vector { speediff_add_pair_products(sum, a, b) }

  @inline(__always)
  static func pairs(_ x: Vector, _ y: Vector) -> Vector { speediff_bfloat16(x, y) }

  @inline(__always)
  static func columns(_ first: Vector, _ second: Vector) -> Vector {
    speediff_interleaved_halves(speediff_bfloat16(first, second))
  }
}

/// The same to the last bit, on any processor. It is slower than float32.
enum BFloat16Emulation: BFloat16Pairs {
  private typealias Bits = SIMD16<UInt32>

  @inline(never)
  static func sum(_ sum: Vector, plus a: Vector, times b: Vector) -> Vector {
    let (a, b) = (unsafeBitCast(a, to: Bits.self), unsafeBitCast(b, to: Bits.self))
    let (low, high) = (Bits(repeating: 16), Bits(repeating: 0xFFFF_0000))
    let later = added(
      normal(sum), normal(unsafeBitCast(a & high, to: Vector.self)), normal(unsafeBitCast(b & high, to: Vector.self)))
    return added(
      later, normal(unsafeBitCast(a &<< low, to: Vector.self)), normal(unsafeBitCast(b &<< low, to: Vector.self)))
  }

  @inline(never)
  static func pairs(_ x: Vector, _ y: Vector) -> Vector {
    let (x, y) = (rounded(x), rounded(y))
    var (first, second) = (Bits(), Bits())
    (first.lowHalf, first.highHalf) = (x.evenHalf, y.evenHalf)
    (second.lowHalf, second.highHalf) = (x.oddHalf, y.oddHalf)
    return pairs(first, second)
  }

  @inline(never)
  static func columns(_ first: Vector, _ second: Vector) -> Vector { pairs(rounded(first), rounded(second)) }

  /// Pairs of what is rounded.
  @inline(__always)
  private static func pairs(_ first: Bits, _ second: Bits) -> Vector {
    unsafeBitCast((first &>> Bits(repeating: 16)) | second, to: Vector.self)
  }

  /// x + a·b, rounded once; 0 if that is below the normal numbers with all digits of a float.
  private static func added(_ x: Vector, _ a: Vector, _ b: Vector) -> Vector {
    // Where the result is below them, it has fewer digits, and could be rounded up to the least of them.
    var (result, scaled) = (Vector.zero, Vector.zero)
    for i in 0..<lanes { result[i] = x[i].addingProduct(a[i], b[i]) }
    for i in 0..<lanes { scaled[i] = (x[i] * 0x1p64).addingProduct(a[i] * 0x1p32, b[i] * 0x1p32) }
    let sign = unsafeBitCast(scaled, to: Bits.self) & Bits(repeating: 0x8000_0000)
    let isSmall = magnitude(result) .<= splat(0x1p-126) .& (magnitude(scaled) .< splat(0x1p-62))
    return result.replacing(with: unsafeBitCast(sign, to: Vector.self), where: isSmall)
  }

  /// The bits of x rounded to bfloat16, in the upper half.
  private static func rounded(_ x: Vector) -> Bits {
    let bits = unsafeBitCast(normal(x), to: Bits.self)
    let isOdd = (bits &>> Bits(repeating: 16)) & Bits(repeating: 1)
    let nearest = bits &+ Bits(repeating: 0x7FFF) &+ isOdd
    let quiet = bits | Bits(repeating: 0x0040_0000)
    return nearest.replacing(with: quiet, where: x .!= x) & Bits(repeating: 0xFFFF_0000)
  }

  /// x, with 0 of the same sign for subnormal numbers.
  @inline(__always)
  private static func normal(_ x: Vector) -> Vector {
    let sign = unsafeBitCast(x, to: Bits.self) & Bits(repeating: 0x8000_0000)
    return x.replacing(with: unsafeBitCast(sign, to: Vector.self), where: magnitude(x) .< splat(0x1p-126))
  }

  @inline(__always)
  private static func magnitude(_ x: Vector) -> Vector {
    unsafeBitCast(unsafeBitCast(x, to: Bits.self) & Bits(repeating: 0x7FFF_FFFF), to: Vector.self)
  }
}

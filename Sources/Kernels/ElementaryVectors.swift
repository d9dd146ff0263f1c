import COpenBLAS

/// e^x to 2e-7 relative; 0 below -87.3, and at most e^88.3 ≈ 2.2e38. NaN stays NaN.
@inline(__always)
func exp(_ x: Vector) -> Vector {
  // x = n ln 2 + r; adding 1.5·2²³ rounds to an integer, which is then in the low bits.
  let magic = splat(12_582_912)
  let bounded = greater(splat(-87.3), lesser(splat(88.3), x))
  let shifted = magic.addingProduct(bounded, splat(1.442_695_04))
  let n = shifted - magic
  var r = bounded.addingProduct(n, splat(-0.693_359_375))
  r = r.addingProduct(n, splat(2.121_944_4e-4))
  var p = splat(1.987_569_15e-4)
  p = splat(1.398_199_95e-3).addingProduct(p, r)
  p = splat(8.333_451_9e-3).addingProduct(p, r)
  p = splat(4.166_579_6e-2).addingProduct(p, r)
  p = splat(1.666_666_55e-1).addingProduct(p, r)
  p = splat(0.5).addingProduct(p, r)
  p = (splat(1) + r).addingProduct(p, r * r)
  // n is in [-126, 127], so 2^n is normal. Where x is NaN, p is NaN, and so is its product with whatever this is then.
  let exponent = unsafeBitCast(shifted, to: SIMD16<Int32>.self) &<< SIMD16(repeating: 23)
  let power = unsafeBitCast(exponent &+ SIMD16(repeating: 0x3F80_0000), to: Vector.self)
  return speediff_zero_where_less(x, splat(-87.3), p * power)
}

/// 1/(1 + e^-x) to 2e-7.
@inline(__always)
func logistic(_ x: Vector) -> Vector {
  // Finite and at least 1, so its reciprocal needs no special case.
  let y = splat(1) + exp(splat(0) - x)
  let near = speediff_near_reciprocal(y)
  if speediff_has_wide_vectors() == 0 { return near }
  return near.addingProduct(near, splat(1).addingProduct(splat(0) - y, near))
}

/// The natural logarithm of positive normal floats to 1e-7: relative, or absolute if it is below 1.
@inline(__always)
func log(_ x: Vector) -> Vector { log(x, minusOne: x - splat(1)) }

/// The same near 1, where x - 1 is known more precisely than x.
@inline(__always)
func log(_ x: Vector, minusOne: Vector) -> Vector {
  // x = 2^n m with m in [√½, √2).
  let bits = unsafeBitCast(x, to: SIMD16<UInt32>.self)
  let shifted = bits &- SIMD16(repeating: 0x3F35_04F3)
  let exponent = unsafeBitCast(shifted, to: SIMD16<Int32>.self) &>> SIMD16(repeating: 23)
  let mantissa = (shifted & SIMD16(repeating: 0x007F_FFFF)) &+ SIMD16(repeating: 0x3F35_04F3)
  let reduced = unsafeBitCast(mantissa, to: Vector.self) - splat(1)
  let f = reduced.replacing(with: minusOne, where: exponent .== SIMD16(repeating: 0))
  // The integer in the low bits of 1.5·2²³ is its difference from it.
  let magic = SIMD16<Int32>(repeating: 0x4B40_0000)
  let n = unsafeBitCast(magic &+ exponent, to: Vector.self) - splat(12_582_912)
  let square = f * f
  var p = splat(7.037_683_6e-2)
  p = splat(-1.151_461_03e-1).addingProduct(p, f)
  p = splat(1.167_699_87e-1).addingProduct(p, f)
  p = splat(-1.242_014_08e-1).addingProduct(p, f)
  p = splat(1.424_932_28e-1).addingProduct(p, f)
  p = splat(-1.666_805_77e-1).addingProduct(p, f)
  p = splat(2.000_071_48e-1).addingProduct(p, f)
  p = splat(-2.499_999_4e-1).addingProduct(p, f)
  p = splat(3.333_333_1e-1).addingProduct(p, f)
  p = p * f * square
  p = p.addingProduct(n, splat(-2.121_944_4e-4))
  p = p.addingProduct(square, splat(-0.5))
  return (f + p).addingProduct(n, splat(0.693_359_375))
}

/// Cosine and sine of 2π·w·2⁻³² for 32-bit fractions of a turn w, to 2e-7.
@inline(__always)
func cosineAndSine(turn w: SIMD16<UInt32>) -> (cosine: Vector, sine: Vector) {
  // The nearest quarter turn is subtracted exactly, in integers; the rest is in [-π/4, π/4].
  let quarters = (w &+ SIMD16(repeating: 1 << 29)) &>> SIMD16(repeating: 30)
  let rest = unsafeBitCast(w &- (quarters &<< SIMD16(repeating: 30)), to: SIMD16<Int32>.self)
  // In two halves, each of which is exact as a float; see `exp` for the constant.
  let magic = SIMD16<Int32>(repeating: 0x4B40_0000)
  let high = unsafeBitCast(magic &+ (rest &>> SIMD16(repeating: 16)), to: Vector.self) - splat(12_582_912)
  let low =
    unsafeBitCast(magic &+ (rest & SIMD16(repeating: 0xFFFF)), to: Vector.self) - splat(12_582_912)
  // 2π·2⁻¹⁶ and 2π·2⁻³².
  let x = (low * splat(1.462_918_1e-9)).addingProduct(high, splat(9.587_379_9e-5))
  let square = x * x
  var s = splat(-1.951_529_6e-4)
  s = splat(8.332_161e-3).addingProduct(s, square)
  s = splat(-1.666_665_46e-1).addingProduct(s, square)
  s = x.addingProduct(s * square, x)
  var c = splat(2.443_315_7e-5)
  c = splat(-1.388_731_6e-3).addingProduct(c, square)
  c = splat(4.166_664_6e-2).addingProduct(c, square)
  c = (splat(1).addingProduct(square, splat(-0.5))).addingProduct(c, square * square)
  // Quarter q: (c, s), (-s, c), (-c, -s), (s, -c).
  let odd = (quarters & SIMD16(repeating: 1)) .!= SIMD16(repeating: 0)
  let negativeCosine = ((quarters &+ SIMD16(repeating: 1)) & SIMD16(repeating: 2)) &<< SIMD16(repeating: 30)
  let negativeSine = (quarters & SIMD16(repeating: 2)) &<< SIMD16(repeating: 30)
  let cosine = unsafeBitCast(c.replacing(with: s, where: odd), to: SIMD16<UInt32>.self) ^ negativeCosine
  let sine = unsafeBitCast(s.replacing(with: c, where: odd), to: SIMD16<UInt32>.self) ^ negativeSine
  return (unsafeBitCast(cosine, to: Vector.self), unsafeBitCast(sine, to: Vector.self))
}

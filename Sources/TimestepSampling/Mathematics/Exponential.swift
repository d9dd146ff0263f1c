/// e^x for |x| ≤ 100, to 10⁻¹⁵.
///
/// It is made of sums and products alone, so that a loop over it is vectorized, and every processor gives the same bits.
@inline(__always)
func exponential(_ x: Double) -> Double {
  // x = n ln 2 + r; adding 1.5·2⁵² rounds to an integer, which is then in the low bits.
  let shifted = x * 1.442_695_040_888_963_4 + 0x1.8p52
  let n = shifted - 0x1.8p52
  // ln 2 in two parts. The products with the first, of 32 bits, are exact.
  let r = (x - n * 0x1.62E42FEEp-1) - n * 0x1.A39EF35793C76p-33
  // Taylor's series, whose next term is below 2·10⁻¹⁶ for |r| ≤ ½ ln 2.
  var p = 1.0 / 479_001_600
  p = p * r + 1.0 / 39_916_800
  p = p * r + 1.0 / 3_628_800
  p = p * r + 1.0 / 362_880
  p = p * r + 1.0 / 40_320
  p = p * r + 1.0 / 5040
  p = p * r + 1.0 / 720
  p = p * r + 1.0 / 120
  p = p * r + 1.0 / 24
  p = p * r + 1.0 / 6
  p = p * r + 0.5
  p = p * r * r + r + 1
  return p * Double(bitPattern: (shifted.bitPattern &+ 1023) &<< 52)
}

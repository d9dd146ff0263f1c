import COpenBLAS

/// Standard normal floats from 32-bit random words, by the method of Box and Muller.
///
/// Words 0 and 1 of four give normals 0 and 1, r·cos(θ) and r·sin(θ), with r = √(-2 ln((w₀ + 1)·2⁻³²)) and
/// θ = 2π·w₁·2⁻³²; words 2 and 3 give normals 2 and 3. To 1e-6; the largest is 6.66.
///
/// - Parameters:
///   - words: a multiple of 32 of them.
///   - normals: room for as many floats.
package func makeNormal(_ words: UnsafePointer<UInt32>, into normals: UnsafeMutablePointer<Float>, count: Int) {
  var i = 0
  while i < count {
    let low = UnsafeRawPointer(words + i).loadUnaligned(as: SIMD16<UInt32>.self)
    let high = UnsafeRawPointer(words + i + 16).loadUnaligned(as: SIMD16<UInt32>.self)
    let radius = radius(of: gathered(low.evenHalf, high.evenHalf))
    let (cosine, sine) = cosineAndSine(turn: gathered(low.oddHalf, high.oddHalf))
    let (first, second) = interleaved(radius * cosine, radius * sine)
    store(first, normals + i, lanes)
    store(second, normals + (i &+ lanes), lanes)
    i &+= 32
  }
}

@inline(__always)
private func gathered(_ low: SIMD8<UInt32>, _ high: SIMD8<UInt32>) -> SIMD16<UInt32> {
  SIMD16(lowHalf: low, highHalf: high)
}

/// √(-2 ln((w + 1)·2⁻³²)).
@inline(__always)
private func radius(of w: SIMD16<UInt32>) -> Vector {
  // 1 minus the fraction is exact if the fraction is near 1.
  let fraction = single(w, plus: 1) * splat(0x1p-32)
  let minusOne = single(SIMD16(repeating: .max) &- w, plus: 0) * splat(-0x1p-32)
  return speediff_square_roots(log(fraction, minusOne: minusOne) * splat(-2))
}

/// w + plus, from two halves that floats hold exactly, so that the sum is rounded only once.
@inline(__always)
private func single(_ w: SIMD16<UInt32>, plus: Float) -> Vector {
  let magic = SIMD16<UInt32>(repeating: 0x4B40_0000)
  let high = unsafeBitCast(magic &+ (w &>> SIMD16(repeating: 16)), to: Vector.self) - splat(12_582_912)
  let low = unsafeBitCast(magic &+ (w & SIMD16(repeating: 0xFFFF)), to: Vector.self) - splat(12_582_912 - plus)
  return low.addingProduct(high, splat(65536))
}

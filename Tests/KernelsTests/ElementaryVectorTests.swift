import Testing

@testable import Kernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The bounds are those that the functions state.
@Suite("Elementary functions of vectors")
struct ElementaryVectorTests {
  /// Floats of every magnitude and sign: denormals, infinities and NaN among them.
  static let floats: [Float] =
    stride(from: UInt32(0), to: 0xFFFF_F000, by: 1021).map { Float(bitPattern: $0) } + [
      0, -0.0, .infinity, -.infinity, .nan, .signalingNaN, .leastNonzeroMagnitude, -.leastNonzeroMagnitude,
      .leastNormalMagnitude, .greatestFiniteMagnitude, -.greatestFiniteMagnitude, 1, Float(1).nextUp, Float(1).nextDown,
      -87.3, Float(-87.3).nextUp, Float(-87.3).nextDown, 88.3, Float(88.3).nextUp, Float(88.3).nextDown, 88.73, -103.98,
    ]

  /// Applies a function to all, each in a vector with its neighbours, and gives the largest error.
  func largestError(
    of function: (Vector) -> Vector, in floats: [Float] = floats, _ error: (_ x: Float, _ y: Double) -> Double
  ) -> (error: Double, x: Float, y: Float) {
    var worst = (error: 0.0, x: Float(0), y: Float(0))
    for start in stride(from: 0, to: floats.count, by: lanes) {
      var x = Vector.zero
      for i in 0..<min(lanes, floats.count - start) { x[i] = floats[start + i] }
      let y = function(x)
      for i in 0..<min(lanes, floats.count - start) {
        let e = error(x[i], Double(y[i]))
        if e > worst.error || e.isNaN { worst = (e.isNaN ? .infinity : e, x[i], y[i]) }
      }
    }
    return worst
  }

  @Test("e^x is right to 2e-7, 0 below -87.3, at most e^88.3, and keeps NaN")
  func exponential() {
    let worst = largestError(of: { Kernels.exp($0) }) { x, y in
      if x.isNaN { return y.isNaN ? 0 : .infinity }
      if x < -87.3 { return abs(y) }
      let wanted = exp(min(Double(x), Double(Float(88.3))))
      return abs(y - wanted) / wanted
    }
    #expect(worst.error <= 2e-7, "\(worst)")
  }

  @Test("1/(1 + e^-x) is right to 2.5e-7, and below -87 as near to 0")
  func logisticFunction() {
    let worst = largestError(of: { logistic($0) }) { x, y in
      if x.isNaN { return y.isNaN ? 0 : .infinity }
      let wanted = 1 / (1 + exp(-Double(x)))
      return x < -87 ? (y >= 0 && y < 2e-38 ? 0 : .infinity) : abs(y - wanted) / wanted
    }
    #expect(worst.error <= 2.5e-7, "\(worst)")
  }

  @Test("ln x of positive normal floats is right to 1e-7, near 1 absolutely")
  func logarithm() {
    let positive = Self.floats.filter { $0.isNormal && $0 > 0 }
    let nearOne = (-20_000...20_000).map { Float(1 + Double($0) * 0x1p-24) }
    let worst = largestError(of: { Kernels.log($0) }, in: positive + nearOne) { x, y in
      let wanted = log(Double(x))
      return abs(y - wanted) / max(1, abs(wanted))
    }
    #expect(worst.error <= 1e-7, "\(worst)")
  }

  @Test("Cosine and sine of fractions of a turn are right to 2e-7")
  func turns() {
    // The edges of quarters and of their halves, and their neighbours.
    let edges = (0..<8).flatMap { eighth in (-20...20).map { UInt32(eighth << 29) &+ UInt32(bitPattern: $0) } }
    let turns = Array(stride(from: UInt32(0), to: 0xFFFF_F000, by: 1021)) + edges
    var worst = (error: 0.0, turn: UInt32(0))
    for start in stride(from: 0, to: turns.count, by: lanes) {
      var w = SIMD16<UInt32>.zero
      for i in 0..<min(lanes, turns.count - start) { w[i] = turns[start + i] }
      let (cosine, sine) = cosineAndSine(turn: w)
      for i in 0..<lanes {
        let angle = 2 * Double.pi * Double(w[i]) * 0x1p-32
        let error = max(abs(Double(cosine[i]) - cos(angle)), abs(Double(sine[i]) - sin(angle)))
        if !(error <= worst.error) { worst = (error.isNaN ? .infinity : error, w[i]) }
      }
    }
    #expect(worst.error <= 2e-7, "\(worst)")
  }

  @Test("Normals are those of Box and Muller to 1e-6")
  func normals() {
    let radii: [UInt32] = [0, 1, 2, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_0000, 0xFFFF_FF00, 0xFFFF_FFFE, 0xFFFF_FFFF]
    let angles = stride(from: UInt32(0), to: 0xFF00_0000, by: 0x0101_0101).map { $0 }
    var words = radii.flatMap { radius in angles.flatMap { [radius, $0] } }
    // Where the radius is small, it is a small difference.
    words += (0..<2000).flatMap { [0xFFFF_FFFF - $0, $0 &* 2_654_435_769] }
    words += stride(from: UInt32(0), to: 0xFFF0_0000, by: 65_539).flatMap { [$0, $0 &* 2_654_435_769] }
    words += [UInt32](repeating: 0, count: (64 - words.count % 64) % 64)
    var normals = [Float](repeating: .nan, count: words.count)
    makeNormal(words, into: &normals, count: words.count)
    var worst = (error: 0.0, words: (UInt32(0), UInt32(0)))
    for i in stride(from: 0, to: words.count, by: 2) {
      let radius = (-2 * log((Double(words[i]) + 1) * 0x1p-32)).squareRoot()
      let angle = 2 * Double.pi * Double(words[i + 1]) * 0x1p-32
      let error = max(abs(Double(normals[i]) - radius * cos(angle)), abs(Double(normals[i + 1]) - radius * sin(angle)))
      if !(error <= worst.error) { worst = (error.isNaN ? .infinity : error, (words[i], words[i + 1])) }
    }
    #expect(worst.error <= 1e-6, "\(worst)")
    let largest = normals.lazy.map(abs).max() ?? 0
    #expect(abs(largest - 6.66) < 0.005)
  }
}

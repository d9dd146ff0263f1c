/// Smooth functions of a positive number, as a table of polynomials: eight pieces to each octave [2ᵉ, 2ᵉ⁺¹), of degree 7.
///
/// A piece interpolates its function at eight Chebyshev nodes. For a function without singularities but at 0 the error is
/// about 10⁻¹². Every piece is compared with its function at eight more places, near its ends among them. One that is off
/// by more than `tolerance`, relative, as beside a kink or a jump, is given up: it yields NaN, as does any number outside
/// the octaves. The caller then asks the function itself. Only sums and products are used, each rounded on its own, so that
/// every build for any processor gives the same bits.
struct OctaveTable: Sendable {
  /// 64 times finer than a Float.
  static let tolerance = 0x1p-30

  private static let degree = 7
  private static let piecesPerOctave = 8

  /// For each function the coefficients of its pieces, as `row` orders them, and a row of NaN after the last.
  private let rows: [SIMD8<Double>]
  /// The leading bits of the lowest number.
  private let first: UInt64
  /// The pieces of one function.
  private let pieces: Int

  /// Tabulates functions over the octaves 2^e of a range of exponents, which lies within those of normal numbers.
  ///
  /// - Parameter error: how far off a value may be; nil: by `tolerance`, relative.
  init(octaves: Range<Int>, of functions: [(Double) -> Double], error: ((_ value: Double) -> Double)? = nil) {
    let error = error ?? { Self.tolerance * abs($0) }
    let pieces = octaves.count * Self.piecesPerOctave
    var rows: [SIMD8<Double>] = []
    for function in functions {
      for piece in 0..<pieces {
        let octave = Double(sign: .plus, exponent: octaves.lowerBound + piece / Self.piecesPerOctave, significand: 1)
        let middle = 1 + (Double(piece % Self.piecesPerOctave) + 0.5) / Double(Self.piecesPerOctave)
        let polynomial = Self.coefficients(
          of: { function(octave * (middle + $0 / Double(Self.piecesPerOctave))) }, error: error)
        rows.append(Self.row(of: polynomial))
      }
    }
    self.rows = rows + [SIMD8(repeating: .nan)]
    self.pieces = pieces
    first = UInt64(1023 + octaves.lowerBound) << 3
  }

  /// The table with its coefficients pinned, for a loop over a batch.
  @inline(__always)
  func withLookup<Result>(_ body: (Lookup) throws -> Result) rethrows -> Result {
    try rows.withUnsafeBufferPointer {
      // The row of NaN is always there.
      try body(
        Lookup(rows: $0.baseAddress!, first: first, pieces: UInt64(pieces), last: UInt64($0.count - 1)))
    }
  }

  /// The table of an `OctaveTable`, as a pointer that is valid for one call.
  struct Lookup {
    fileprivate let rows: UnsafePointer<SIMD8<Double>>
    fileprivate let first: UInt64
    fileprivate let pieces: UInt64
    /// The row of NaN.
    fileprivate let last: UInt64

    /// One of the functions at a positive number; NaN where the table has no value.
    @inline(__always)
    func value(at x: Double, of function: Int = 0) -> Double {
      let bits = x.bitPattern
      let piece = (bits &>> 49) &- first
      let row = piece < pieces ? piece &+ UInt64(truncatingIfNeeded: function) &* pieces : last
      // The bits after those that choose the piece are the place in it, in [-½, ½).
      let v = Double(bitPattern: (bits &<< 3) & 0x000F_FFFF_FFFF_FFFF | 0x3FF0_0000_0000_0000) - 1.5
      // Estrin's scheme: shorter chains than Horner's. With whole vectors the compiler cannot read eight rows at once by
      // gathers, which take longer.
      let c = rows[Int(truncatingIfNeeded: row)]
      let square = v * v
      let pairs = c.lowHalf + c.highHalf * v
      let halves = pairs.lowHalf + pairs.highHalf * square
      return halves[0] + halves[1] * (square * square)
    }
  }

  /// Coefficients by rising power in the order in which Estrin's scheme needs no shuffles.
  private static func row(of c: [Double]) -> SIMD8<Double> { SIMD8(c[0], c[4], c[2], c[6], c[1], c[5], c[3], c[7]) }

  /// The polynomial of a function over [-½, ½]; NaN unless it is close.
  private static func coefficients(of function: (Double) -> Double, error: (Double) -> Double) -> [Double] {
    let values = nodes.map(function)
    var result = [Double](repeating: 0, count: degree + 1)
    // A constant is kept to the last bit.
    if values.allSatisfy({ $0 == values[0] }) {
      result[0] = values[0]
    } else {
      for (value, basis) in zip(values, bases) {
        for power in 0...degree { result[power] += value * basis[power] }
      }
    }
    let isClose = places.allSatisfy { place in
      let expected = function(place)
      let found = result.reversed().reduce(0) { $0 * place + $1 }
      return abs(found - expected) <= error(expected)
    }
    return isClose ? result : [Double](repeating: .nan, count: degree + 1)
  }

  /// Chebyshev's nodes in (-½, ½), for eight pieces.
  private static let nodes: [Double] = {
    // cos((2k+1)π/16)/2.
    let positive = [
      0.490_392_640_201_615_2, 0.415_734_806_151_272_6, 0.277_785_116_509_801_1, 0.097_545_161_008_064_13,
    ]
    return positive.map { -$0 } + positive.reversed()
  }()

  /// The polynomial that is 1 at one node and 0 at the others, for each node; by rising power.
  private static let bases: [[Double]] = nodes.map { node in
    var product = [1.0]
    for other in nodes where other != node {
      let scale = 1 / (node - other)
      product = zip(product + [0], [0] + product).map { scale * ($1 - other * $0) }
    }
    return product
  }

  /// Where a polynomial is compared with its function: between the nodes, and just inside the ends.
  private static let places: [Double] = [
    -0.5 + 0x1p-30, -0.456, -0.35, -0.19, 0.003, 0.19, 0.35, 0.456, 0.5 - 0x1p-30,
  ]
}

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

  /// For each piece the coefficients of all functions, as `row` orders them; after the last piece rows of NaN.
  private let rows: [SIMD8<Double>]
  /// The rows of a piece are 2^stride.
  private let stride: UInt64
  /// The leading bits of the lowest number.
  private let first: UInt64
  private let pieces: UInt64

  /// Tabulates functions over the octaves 2^e of a range of exponents, which lies within those of normal numbers.
  ///
  /// - Parameter error: how far off a value may be; nil: by `tolerance`, relative.
  init(octaves: Range<Int>, of functions: [(Double) -> Double], error: ((_ value: Double) -> Double)? = nil) {
    let error = error ?? { Self.tolerance * abs($0) }
    let pieces = octaves.count * Self.piecesPerOctave
    stride = UInt64(Int.bitWidth - (functions.count - 1).leadingZeroBitCount)
    self.pieces = UInt64(pieces)
    first = UInt64(1023 + octaves.lowerBound) << 3
    var rows = [SIMD8<Double>](repeating: SIMD8(repeating: .nan), count: (pieces + 1) << Int(stride))
    for piece in 0..<pieces {
      let octave = Double(sign: .plus, exponent: octaves.lowerBound + piece / Self.piecesPerOctave, significand: 1)
      let middle = 1 + (Double(piece % Self.piecesPerOctave) + 0.5) / Double(Self.piecesPerOctave)
      for (place, function) in functions.enumerated() {
        let polynomial = Self.coefficients(
          of: { function(octave * (middle + $0 / Double(Self.piecesPerOctave))) }, error: error)
        rows[piece << Int(stride) + place] = Self.row(of: polynomial)
      }
    }
    self.rows = rows
  }

  /// The table with its coefficients pinned, for a loop over a batch.
  @inline(__always)
  func withLookup<Result>(_ body: (Lookup) throws -> Result) rethrows -> Result {
    try rows.withUnsafeBufferPointer {
      // The rows of NaN are always there.
      try body(Lookup(rows: $0.baseAddress!, stride: stride, first: first, pieces: pieces))
    }
  }

  /// The table of an `OctaveTable`, as a pointer that is valid for one call.
  ///
  /// A batch is quickest in two loops: one over `place`, which is vectorized, and one over `value`, which reads the table.
  struct Lookup {
    fileprivate let rows: UnsafePointer<SIMD8<Double>>
    fileprivate let stride: UInt64
    fileprivate let first: UInt64
    fileprivate let pieces: UInt64

    /// The row of the first function at a number, and the place in its piece, in [-½, ½). The rows of the other functions
    /// follow.
    @inline(__always)
    func place(of x: Double) -> (row: UInt64, offset: Double) {
      let bits = x.bitPattern
      let piece = (bits &>> 49) &- first
      // The bits after those that choose the piece are the place in it.
      let offset = Double(bitPattern: (bits &<< 3) & 0x000F_FFFF_FFFF_FFFF | 0x3FF0_0000_0000_0000) - 1.5
      return ((piece < pieces ? piece : pieces) &<< stride, offset)
    }

    /// The value of a row at a place in its piece; NaN where the table has none.
    @inline(__always)
    func value(row: UInt64, offset: Double) -> Double {
      // Estrin's scheme: shorter chains than Horner's.
      let c = rows[Int(truncatingIfNeeded: row)]
      let square = offset * offset
      let pairs = c.lowHalf + c.highHalf * offset
      let halves = pairs.lowHalf + pairs.highHalf * square
      return halves[0] + halves[1] * (square * square)
    }

    /// One of the functions at a positive number; NaN where the table has no value.
    @inline(__always)
    func value(at x: Double, of function: UInt64 = 0) -> Double {
      let (row, offset) = place(of: x)
      return value(row: row &+ function, offset: offset)
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

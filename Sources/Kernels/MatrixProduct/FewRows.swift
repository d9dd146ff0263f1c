/// Sums of products of eight rows of A with one row of B, in registers.
private struct EightSums {
  var s0, s1, s2, s3, s4, s5, s6, s7: Vector

  @inline(__always)
  init() {
    (s0, s1, s2, s3) = (.zero, .zero, .zero, .zero)
    (s4, s5, s6, s7) = (.zero, .zero, .zero, .zero)
  }

  subscript(_ index: Int) -> Float {
    @inline(__always)
    get {
      switch index {
      case 0: s0.horizontalSum
      case 1: s1.horizontalSum
      case 2: s2.horizontalSum
      case 3: s3.horizontalSum
      case 4: s4.horizontalSum
      case 5: s5.horizontalSum
      case 6: s6.horizontalSum
      default: s7.horizontalSum
      }
    }
  }
}

extension NativeProduct {
  /// The most rows of A for `fewRows`.
  static let fewRowsLimit = 8

  /// A·Bᵀ for at most eight rows of A, by dot products. Each row of B is read once, and nothing is packed.
  static func fewRows(
    _ a: Matrix, _ b: Matrix, into c: Matrix, m: Int, n: Int, k: Int, alpha: Float, base: ProductBase
  ) {
    @inline(__always)
    func start(_ row: Int) -> UnsafeMutablePointer<Float> { a.row(row < m ? row : 0) }
    let (a0, a1, a2, a3) = (start(0), start(1), start(2), start(3))
    let (a4, a5, a6, a7) = (start(4), start(5), start(6), start(7))
    var j = 0
    while j < n {
      let isLast = j &+ 1 == n
      let (b0, b1) = (b.row(j), b.row(isLast ? j : j &+ 1))
      var (x, y) = (EightSums(), EightSums())
      forEachVector(k) { i, count in
        let (left, right) = (load(b0 + i, count), load(b1 + i, count))
        @inline(__always)
        func add(_ row: UnsafeMutablePointer<Float>, _ x: inout Vector, _ y: inout Vector) {
          let values = load(row + i, count)
          x = x.addingProduct(values, left)
          y = y.addingProduct(values, right)
        }
        add(a0, &x.s0, &y.s0)
        add(a1, &x.s1, &y.s1)
        add(a2, &x.s2, &y.s2)
        add(a3, &x.s3, &y.s3)
        add(a4, &x.s4, &y.s4)
        add(a5, &x.s5, &y.s5)
        add(a6, &x.s6, &y.s6)
        add(a7, &x.s7, &y.s7)
      }
      for row in 0..<m {
        let target = c.row(row) + j
        let start: UnsafePointer<Float>? =
          switch base {
          case .zero: nil
          case .present: UnsafePointer(target)
          case .row(let row): row + j
          }
        target[0] = alpha * x[row] + (start?[0] ?? 0)
        if !isLast { target[1] = alpha * y[row] + (start?[1] ?? 0) }
      }
      j &+= 2
    }
  }
}

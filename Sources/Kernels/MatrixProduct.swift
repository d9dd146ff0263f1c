import COpenBLAS

/// The seam behind which the matrix product sits: nothing else in the library calls OpenBLAS.
///
/// Each call runs on the thread that makes it; `ThreadPool` divides the work.
enum MatrixProduct {
  /// C (m×n) = α·A·B, or C += α·A·B. A is m×k and B k×n; with `.transposed` they are stored as k×m and n×k.
  @inline(__always)
  static func multiply(
    _ a: Matrix, _ orderA: Order, _ b: Matrix, _ orderB: Order, into c: Matrix, m: Int, n: Int,
    k: Int, alpha: Float = 1, accumulates: Bool
  ) {
    guard m > 0, n > 0 else { return }
    cblas_sgemm(
      Int32(SPEEDIFF_ROW_MAJOR), orderA.rawValue, orderB.rawValue, Int32(m), Int32(n), Int32(k), alpha, a.base,
      Int32(a.stride), b.base, Int32(b.stride), accumulates ? 1 : 0, c.base, Int32(c.stride))
  }

  /// How a factor is stored.
  enum Order: Int32 {
    case plain = 111
    case transposed = 112
  }
}

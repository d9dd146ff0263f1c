import ArgumentErrors
import COpenBLAS

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The matrix product. Nothing else in the library calls OpenBLAS.
///
/// Each call runs on the thread that makes it; `ThreadPool` divides the work.
package enum MatrixProduct {
  /// How a factor is stored.
  enum Order: Int32 {
    case plain = 111
    case transposed = 112
  }

  /// What computes the product.
  package enum Backend: String, CaseIterable {
    /// OpenBLAS, for any processor.
    case openBLAS = "openblas"
    /// `NativeProduct`, where the library is built for fused products.
    case native
  }

  /// SPEEDIFF_MATRIX_PRODUCT ("openblas" or "native") when the library is first used, else the faster one.
  package static let backend = (try? choice.get()) ?? (speediff_has_fused_products() != 0 ? .native : .openBLAS)

  /// What the environment names; nil where it names nothing.
  private static let choice = Result<Backend?, any Error> { try choice(environment("SPEEDIFF_MATRIX_PRODUCT")) }

  static func choice(_ name: String?) throws -> Backend? {
    guard let name else { return nil }
    guard let backend = Backend(rawValue: name) else {
      let names = Backend.allCases.map(\.rawValue).joined(separator: ", ")
      throw ArgumentError("SPEEDIFF_MATRIX_PRODUCT", "must be one of \(names), or not set", got: "\"\(name)\"")
    }
    return backend
  }

  /// Throws `ArgumentError` if the environment names a product that there is not.
  static func checkChoice() throws { _ = try choice.get() }

  /// Allocates the memory that the calling thread's products need.
  ///
  /// - Parameter whileHeld: waits for the other threads that take theirs.
  /// - Throws: `MemoryError` if it cannot be had; then `whileHeld` has not run.
  static func takeBuffer(_ whileHeld: () -> Void) throws {
    switch backend {
    case .native:
      try NativeProduct.takeScratch()
      whileHeld()
    case .openBLAS: try OpenBLASSettings.takeBuffer(whileHeld)
    }
  }

  /// C (m×n) = base + α·A·B. A is m×k and B k×n; with `.transposed` they are stored as k×m and n×k.
  ///
  /// C is float32. A factor of bfloat16 may be stored as such.
  ///
  /// - Parameters:
  ///   - precision: of the factors. bfloat16 is computed by `NativeProduct` with any backend.
  ///   - packed: all of B, already packed for that precision.
  ///   - finish: called with each part of C when it is complete, usually before it leaves the cache. It must not multiply:
  ///     the thread's memory for packing is in use.
  static func multiply(
    _ a: Matrix, _ orderA: Order, _ b: Matrix, _ orderB: Order, into c: Matrix, m: Int, n: Int,
    k: Int, alpha: Float = 1, base: ProductBase, precision: Precision = .float32,
    packed: PackedFactor? = nil,
    finish: (_ rows: Range<Int>, _ columns: Range<Int>) -> Void = { _, _ in }
  ) {
    guard m > 0, n > 0 else { return }
    precondition(c.precision == .float32, "sums are float32")
    if precision == .bfloat16 {
      func multiply<Pairs: BFloat16Pairs>(_: Pairs.Type) {
        func multiply<Left: ProductElement, Right: ProductElement>(_: Left.Type, _: Right.Type) {
          NativeProduct.multiply(
            Left.self, Right.self, a, orderA, b, orderB, into: c, m: m, n: n, k: k, alpha: alpha, base: base,
            packed: packed, finish: finish)
        }
        switch (a.precision, b.precision) {
        case (.float32, .float32): multiply(Pairs.self, Pairs.self)
        case (.bfloat16, .float32): multiply(KeptPairs<Pairs>.self, Pairs.self)
        case (.float32, .bfloat16): multiply(Pairs.self, KeptPairs<Pairs>.self)
        case (.bfloat16, .bfloat16): multiply(KeptPairs<Pairs>.self, KeptPairs<Pairs>.self)
        }
      }
      switch BFloat16Path.current {
      case .instructions: return multiply(BFloat16Instructions.self)
      case .emulated: return multiply(BFloat16Emulation.self)
      }
    }
    precondition(a.precision == .float32 && b.precision == .float32, "factors are float32")
    switch backend {
    case .native:
      NativeProduct.multiply(
        FloatElement.self, FloatElement.self, a, orderA, b, orderB, into: c, m: m, n: n, k: k, alpha: alpha, base: base,
        packed: packed,
        finish: finish)
    case .openBLAS:
      var adds = false
      switch base {
      case .zero: break
      case .present: adds = true
      case .row(let row):
        for r in 0..<m { c.row(r).update(from: row, count: n) }
        adds = true
      }
      OpenBLASSettings.withoutFork {
        cblas_sgemm(
          Int32(SPEEDIFF_ROW_MAJOR), orderA.rawValue, orderB.rawValue, Int32(m), Int32(n), Int32(k), alpha, a.base,
          Int32(a.stride), b.base, Int32(b.stride), adds ? 1 : 0, c.base, Int32(c.stride))
      }
      finish(0..<m, 0..<n)
    }
  }
}

import ArgumentErrors
import COpenBLAS

/// The precision of matrix products, whose sums are float32 in either case, and of numbers in memory.
public enum Precision: String, Sendable, CaseIterable {
  /// Factors are float32.
  case float32
  /// Factors are rounded to bfloat16.
  case bfloat16

  /// The faster one on this processor, by its features.
  public static var fastest: Precision { speediff_has_fast_bfloat16_products() != 0 ? .bfloat16 : .float32 }

  /// The floats of memory for a row of numbers: in bfloat16 two of them share one.
  public func floats(_ numbers: Int) -> Int { self == .float32 ? numbers : BFloat16Emulation.count(numbers) }

  /// Throws `ArgumentError` unless this processor has instructions for it, or SPEEDIFF_BFLOAT16 is "emulated".
  public func check() throws { try check(self == .bfloat16 ? BFloat16Path.choice.get() : nil) }

  /// - Parameter path: what computes products of bfloat16; nil: nothing that is worth it.
  func check(_ path: BFloat16Path?) throws {
    if self == .bfloat16, path == nil {
      throw ArgumentError(
        "precision", "must be \"float32\" or \"auto\" without AVX-512-BF16, where bfloat16 is slower",
        got: "\"\(rawValue)\"; set SPEEDIFF_BFLOAT16=emulated to compute it all the same")
    }
  }
}

/// What computes products of bfloat16.
enum BFloat16Path: String, CaseIterable {
  /// `BFloat16Instructions`.
  case instructions
  /// `BFloat16Emulation`.
  case emulated

  /// SPEEDIFF_BFLOAT16 when the library is first used, else the instructions; nil where the processor has none.
  static let choice = Result<BFloat16Path?, any Error> {
    try choice(environment("SPEEDIFF_BFLOAT16"), hasInstructions: speediff_has_bfloat16_products() != 0)
  }

  /// The path of the products that run.
  static let current = (try? choice.get()) ?? .emulated

  static func choice(_ name: String?, hasInstructions: Bool) throws -> BFloat16Path? {
    guard let name else { return hasInstructions ? .instructions : nil }
    guard let path = BFloat16Path(rawValue: name), path == .emulated || hasInstructions else {
      throw ArgumentError(
        "SPEEDIFF_BFLOAT16",
        hasInstructions
          ? "must be one of instructions, emulated, or not set"
          : "must be emulated, or not set, on a processor without AVX-512-BF16", got: "\"\(name)\"")
    }
    return path
  }
}

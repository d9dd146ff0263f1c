import ArgumentErrors
import CSpeeDiff
import Kernels

/// The precision that a number of `speediff_precision` stands for.
func matrixPrecision(_ code: Int64) throws -> Precision {
  if code == Int64(SPEEDIFF_PRECISION_AUTO.rawValue) { return .fastest }
  guard let precision = Precision.allCases.first(where: { $0.code == code }) else {
    throw ArgumentError("precision", "must be a speediff_precision", got: code)
  }
  return precision
}

extension Precision {
  /// Its number in C.
  var code: Int64 {
    switch self {
    case .float32: Int64(SPEEDIFF_PRECISION_FLOAT32.rawValue)
    case .bfloat16: Int64(SPEEDIFF_PRECISION_BFLOAT16.rawValue)
    }
  }
}

/// Writes the precision that is faster on this processor.
@_cdecl("speediff_fastest_precision") @implementation
public func speediff_fastest_precision(_ precision: UnsafeMutablePointer<Int64>!) -> speediff_status {
  reportingStatus { try unwrap(precision, "precision").pointee = Precision.fastest.code }
}

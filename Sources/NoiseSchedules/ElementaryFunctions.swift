// Only this file depends on the platform's C library. Foundation would hide it, but add 12 MB to a self-contained
// library.
#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The elementary functions that the formulas need, under the names of swift-numerics.
extension Double {
  package static func exp(_ x: Double) -> Double { cExp(x) }
  package static func expMinusOne(_ x: Double) -> Double { cExpm1(x) }
  package static func log(_ x: Double) -> Double { cLog(x) }
  package static func log(onePlus x: Double) -> Double { cLog1p(x) }
  package static func cos(_ x: Double) -> Double { cCos(x) }
  package static func sin(_ x: Double) -> Double { cSin(x) }
  package static func tan(_ x: Double) -> Double { cTan(x) }
  package static func atan(_ x: Double) -> Double { cAtan(x) }
  package static func atan2(y: Double, x: Double) -> Double { cAtan2(y, x) }
  package static func pow(_ x: Double, _ y: Double) -> Double { cPow(x, y) }
  package static func erf(_ x: Double) -> Double { cErf(x) }
  package static func erfc(_ x: Double) -> Double { cErfc(x) }
  /// ln Γ(x) for x > 0.
  package static func logGamma(_ x: Double) -> Double { cLogGamma(x) }
}

// Inside the extension a bare `exp` would mean the member itself.
private func cExp(_ x: Double) -> Double { exp(x) }
private func cExpm1(_ x: Double) -> Double { expm1(x) }
private func cLog(_ x: Double) -> Double { log(x) }
private func cLog1p(_ x: Double) -> Double { log1p(x) }
private func cCos(_ x: Double) -> Double { cos(x) }
private func cSin(_ x: Double) -> Double { sin(x) }
private func cTan(_ x: Double) -> Double { tan(x) }
private func cAtan(_ x: Double) -> Double { atan(x) }
private func cAtan2(_ y: Double, _ x: Double) -> Double { atan2(y, x) }
private func cPow(_ x: Double, _ y: Double) -> Double { pow(x, y) }
private func cErf(_ x: Double) -> Double { erf(x) }
private func cErfc(_ x: Double) -> Double { erfc(x) }
private func cLogGamma(_ x: Double) -> Double { lgamma(x).0 }

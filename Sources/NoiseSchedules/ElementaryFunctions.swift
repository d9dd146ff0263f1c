// The only file that knows which C library the platform has. Foundation would hide that, and add 12 MB to a
// self-contained library.
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
  package static func log(_ x: Double) -> Double { cLog(x) }
  package static func cos(_ x: Double) -> Double { cCos(x) }
}

// Inside the extension a bare `exp` would mean the member itself.
private func cExp(_ x: Double) -> Double { exp(x) }
private func cLog(_ x: Double) -> Double { log(x) }
private func cCos(_ x: Double) -> Double { cos(x) }

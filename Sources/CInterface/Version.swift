import CSpeeDiff

/// The product's version; a test holds it equal to the Python package's.
private let version: StaticString = "0.1.0"

/// Gives the version of the header that this was built with.
@_cdecl("speediff_abi_version") @implementation
public func speediff_abi_version() -> UInt32 {
  UInt32(SPEEDIFF_ABI_VERSION)
}

/// Gives the product's version.
@_cdecl("speediff_version") @implementation
public func speediff_version() -> UnsafePointer<CChar>! {
  UnsafeRawPointer(version.utf8Start).assumingMemoryBound(to: CChar.self)
}

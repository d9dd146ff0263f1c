import CSpeeDiff
import TimestepSampling

typealias WeightingHandle = Handle<any TimestepWeighting>

/// Makes `UniformWeighting`.
@_cdecl("speediff_weighting_create_uniform") @implementation
public func speediff_weighting_create_uniform(_ out: UnsafeMutablePointer<OpaquePointer?>!) -> speediff_status {
  reportingStatus { try WeightingHandle.create(out) { UniformWeighting() } }
}

/// Makes `ChangeAwareWeighting`.
@_cdecl("speediff_weighting_create_change_aware") @implementation
public func speediff_weighting_create_change_aware(_ lam: Double, _ out: UnsafeMutablePointer<OpaquePointer?>!)
  -> speediff_status
{
  reportingStatus { try WeightingHandle.create(out) { try ChangeAwareWeighting(lam: lam) } }
}

/// Frees a weighting.
@_cdecl("speediff_weighting_destroy") @implementation
public func speediff_weighting_destroy(_ weighting: OpaquePointer!) {
  WeightingHandle.destroy(weighting)
}

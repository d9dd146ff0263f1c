import CSpeeDiff
import TimestepSampling

typealias SamplingHandle = Handle<any TimestepDensity>

/// Makes `UniformDensity`.
@_cdecl("speediff_sampling_create_uniform") @implementation
public func speediff_sampling_create_uniform(_ out: UnsafeMutablePointer<OpaquePointer?>!) -> speediff_status {
  reportingStatus { try SamplingHandle.create(out) { UniformDensity() } }
}

/// Makes `AsymmetricDensity` with τ given.
@_cdecl("speediff_sampling_create_asymmetric") @implementation
public func speediff_sampling_create_asymmetric(
  _ k: Double, _ tau: Int64, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus { try SamplingHandle.create(out) { try AsymmetricDensity(k: k, threshold: .step(Int(tau))) } }
}

/// Makes `AsymmetricDensity` with τ from a magnitude.
@_cdecl("speediff_sampling_create_asymmetric_from_magnitude") @implementation
public func speediff_sampling_create_asymmetric_from_magnitude(
  _ k: Double, _ r: Double, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus { try SamplingHandle.create(out) { try AsymmetricDensity(k: k, threshold: .magnitude(r)) } }
}

/// Frees a sampling.
@_cdecl("speediff_sampling_destroy") @implementation
public func speediff_sampling_destroy(_ sampling: OpaquePointer!) {
  SamplingHandle.destroy(sampling)
}

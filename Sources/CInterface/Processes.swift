import CSpeeDiff
import NoiseSchedules
import TimestepSampling

typealias ProcessHandle = Handle<ContinuousProcess>

/// Makes a variance-preserving process.
@_cdecl("speediff_process_create_vp") @implementation
public func speediff_process_create_vp(
  _ beta_d: Double, _ beta_min: Double, _ epsilon_t: Double, _ sigma_data: Double,
  _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try ProcessHandle.create(out) {
      try ContinuousProcess(
        .variancePreserving(betaD: beta_d, betaMin: beta_min, epsilonT: epsilon_t), sigmaData: sigma_data)
    }
  }
}

/// Makes a variance-exploding process.
@_cdecl("speediff_process_create_ve") @implementation
public func speediff_process_create_ve(
  _ sigma_min: Double, _ sigma_max: Double, _ sigma_data: Double, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try ProcessHandle.create(out) {
      try ContinuousProcess(.varianceExploding(sigmaMin: sigma_min, sigmaMax: sigma_max), sigmaData: sigma_data)
    }
  }
}

/// Makes EDM's process.
@_cdecl("speediff_process_create_edm") @implementation
public func speediff_process_create_edm(
  _ p_mean: Double, _ p_std: Double, _ sigma_data: Double, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try ProcessHandle.create(out) {
      try ContinuousProcess(.edm(mean: p_mean, std: p_std), sigmaData: sigma_data)
    }
  }
}

/// Makes rectified flow.
@_cdecl("speediff_process_create_flow") @implementation
public func speediff_process_create_flow(_ sigma_data: Double, _ out: UnsafeMutablePointer<OpaquePointer?>!)
  -> speediff_status
{
  reportingStatus { try ProcessHandle.create(out) { try ContinuousProcess(.flow, sigmaData: sigma_data) } }
}

/// Frees a process.
@_cdecl("speediff_process_destroy") @implementation
public func speediff_process_destroy(_ process: OpaquePointer!) {
  ProcessHandle.destroy(process)
}

/// Writes a quantity of a process.
@_cdecl("speediff_process_evaluate") @implementation
public func speediff_process_evaluate(
  _ process: OpaquePointer!, _ quantity: speediff_process_quantity, _ t: UnsafePointer<Double>!,
  _ out: UnsafeMutablePointer<Double>!, _ count: Int64
) -> speediff_status {
  reportingStatus {
    let process = try ProcessHandle.value(process, "process")
    let function: (Double) -> Double
    switch quantity {
    case SPEEDIFF_PROCESS_SCALE: function = process.scale
    case SPEEDIFF_PROCESS_SIGMA: function = process.sigma
    case SPEEDIFF_PROCESS_SIGMA_DERIVATIVE: function = process.sigmaDerivative
    default: throw ArgumentError("quantity", "must be a value of speediff_process_quantity", got: quantity.rawValue)
    }
    try map(t, "t", to: out, count) { i, t in
      guard t > 0, t.isFinite, process.kind != .flow || t < 1 else {
        throw ArgumentError(
          "t[\(i)]", process.kind == .flow ? "must be in (0, 1)" : "must be finite and above 0", got: t)
      }
      return function(t)
    }
  }
}

/// Writes the momentum of the Fast Diffusion Model.
@_cdecl("speediff_fdm_input_scale") @implementation
public func speediff_fdm_input_scale(
  _ sigma_min: Double, _ sigma_max: Double, _ multiplier: Double, _ sigma: UnsafePointer<Double>!,
  _ out: UnsafeMutablePointer<Double>!, _ count: Int64
) -> speediff_status {
  reportingStatus {
    let model = try FastDiffusionModel(sigmaMin: sigma_min, sigmaMax: sigma_max, multiplier: multiplier)
    try map(sigma, "sigma", to: out, count) { i, sigma in
      guard sigma >= 0, sigma.isFinite else {
        throw ArgumentError("sigma[\(i)]", "must be finite and at least 0", got: sigma)
      }
      return model.inputScale(sigma: sigma)
    }
  }
}

/// Maps an array to another one, which is only written if every value is valid.
private func map(
  _ values: UnsafePointer<Double>?, _ argument: String, to out: UnsafeMutablePointer<Double>?, _ count: Int64,
  _ function: (Int, Double) throws -> Double
) throws {
  guard count != 0 else { return }
  let results = try array(values, count, argument).enumerated().map(function)
  try copy(results, to: out, count: count)
}

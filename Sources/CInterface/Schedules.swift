import CSpeeDiff
import NoiseSchedules

typealias ScheduleHandle = Handle<NoiseSchedule>

/// Makes `NoiseSchedule.linear`.
@_cdecl("speediff_schedule_create_linear") @implementation
public func speediff_schedule_create_linear(
  _ steps: Int64, _ beta_start: Double, _ beta_end: Double, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try ScheduleHandle.create(out) { try .linear(steps: Int(steps), betaStart: beta_start, betaEnd: beta_end) }
  }
}

/// Makes `NoiseSchedule.quadratic`.
@_cdecl("speediff_schedule_create_quadratic") @implementation
public func speediff_schedule_create_quadratic(
  _ steps: Int64, _ beta_start: Double, _ beta_end: Double, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try ScheduleHandle.create(out) { try .quadratic(steps: Int(steps), betaStart: beta_start, betaEnd: beta_end) }
  }
}

/// Makes `NoiseSchedule.cosine`.
@_cdecl("speediff_schedule_create_cosine") @implementation
public func speediff_schedule_create_cosine(_ steps: Int64, _ out: UnsafeMutablePointer<OpaquePointer?>!)
  -> speediff_status
{
  reportingStatus { try ScheduleHandle.create(out) { try .cosine(steps: Int(steps)) } }
}

/// Makes `NoiseSchedule.constant`.
@_cdecl("speediff_schedule_create_constant") @implementation
public func speediff_schedule_create_constant(
  _ steps: Int64, _ beta: Double, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus { try ScheduleHandle.create(out) { try .constant(steps: Int(steps), beta: beta) } }
}

/// Makes `NoiseSchedule.sigmoid`.
@_cdecl("speediff_schedule_create_sigmoid") @implementation
public func speediff_schedule_create_sigmoid(
  _ steps: Int64, _ beta_start: Double, _ beta_end: Double, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try ScheduleHandle.create(out) { try .sigmoid(steps: Int(steps), betaStart: beta_start, betaEnd: beta_end) }
  }
}

/// Makes `NoiseSchedule.warmup`.
@_cdecl("speediff_schedule_create_warmup") @implementation
public func speediff_schedule_create_warmup(
  _ steps: Int64, _ fraction: Double, _ beta_start: Double, _ beta_end: Double,
  _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try ScheduleHandle.create(out) {
      try .warmup(steps: Int(steps), fraction: fraction, betaStart: beta_start, betaEnd: beta_end)
    }
  }
}

/// Makes `NoiseSchedule.jsd`.
@_cdecl("speediff_schedule_create_jsd") @implementation
public func speediff_schedule_create_jsd(_ steps: Int64, _ out: UnsafeMutablePointer<OpaquePointer?>!)
  -> speediff_status
{
  reportingStatus { try ScheduleHandle.create(out) { try .jsd(steps: Int(steps)) } }
}

/// Makes a schedule from β.
@_cdecl("speediff_schedule_create_from_betas") @implementation
public func speediff_schedule_create_from_betas(
  _ betas: UnsafePointer<Double>!, _ count: Int64, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try ScheduleHandle.create(out) { try NoiseSchedule(betas: array(betas, count, "betas")) }
  }
}

/// Makes a schedule from ᾱ.
@_cdecl("speediff_schedule_create_from_alphas_cumprod") @implementation
public func speediff_schedule_create_from_alphas_cumprod(
  _ alphas_cumprod: UnsafePointer<Double>!, _ count: Int64, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try ScheduleHandle.create(out) {
      try NoiseSchedule(alphasCumprod: array(alphas_cumprod, count, "alphas_cumprod"))
    }
  }
}

/// Makes a schedule's variant with zero terminal SNR.
@_cdecl("speediff_schedule_create_zero_terminal_snr") @implementation
public func speediff_schedule_create_zero_terminal_snr(
  _ schedule: OpaquePointer!, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try ScheduleHandle.create(out) { try ScheduleHandle.value(schedule, "schedule").zeroTerminalSNR() }
  }
}

/// Makes the schedule of some steps.
@_cdecl("speediff_schedule_create_respaced") @implementation
public func speediff_schedule_create_respaced(
  _ schedule: OpaquePointer!, _ timesteps: UnsafePointer<Int64>!, _ count: Int64,
  _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try ScheduleHandle.create(out) {
      try ScheduleHandle.value(schedule, "schedule").respaced(array(timesteps, count, "timesteps").map { Int($0) })
    }
  }
}

/// Frees a schedule.
@_cdecl("speediff_schedule_destroy") @implementation
public func speediff_schedule_destroy(_ schedule: OpaquePointer!) {
  ScheduleHandle.destroy(schedule)
}

/// Gives T.
@_cdecl("speediff_schedule_steps") @implementation
public func speediff_schedule_steps(_ schedule: OpaquePointer!, _ steps: UnsafeMutablePointer<Int64>!)
  -> speediff_status
{
  reportingStatus {
    let schedule = try ScheduleHandle.value(schedule, "schedule")
    try unwrap(steps, "steps").pointee = Int64(schedule.steps)
  }
}

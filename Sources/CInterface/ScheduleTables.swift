import CSpeeDiff
import NoiseSchedules

/// Copies one of a schedule's tables.
@_cdecl("speediff_schedule_table") @implementation
public func speediff_schedule_table(
  _ schedule: OpaquePointer!, _ table: speediff_table, _ out: UnsafeMutablePointer<Double>!, _ count: Int64
) -> speediff_status {
  reportingStatus {
    try copy(values(of: table, for: ScheduleHandle.value(schedule, "schedule")), to: out, count: count)
  }
}

/// Gives t_ad.
@_cdecl("speediff_schedule_acceleration_end") @implementation
public func speediff_schedule_acceleration_end(_ schedule: OpaquePointer!, _ t: UnsafeMutablePointer<Int64>!)
  -> speediff_status
{
  reportingStatus {
    let schedule = try ScheduleHandle.value(schedule, "schedule")
    try unwrap(t, "t").pointee = Int64(ProcessIncrements(of: schedule).accelerationEnd)
  }
}

/// Gives t_dc(r).
@_cdecl("speediff_schedule_convergence_start") @implementation
public func speediff_schedule_convergence_start(
  _ schedule: OpaquePointer!, _ r: Double, _ t: UnsafeMutablePointer<Int64>!
) -> speediff_status {
  reportingStatus {
    let schedule = try ScheduleHandle.value(schedule, "schedule")
    try unwrap(t, "t").pointee = Int64(ProcessIncrements(of: schedule).convergenceStart(r: r))
  }
}

/// Gives t_ad from the closed forms.
@_cdecl("speediff_schedule_closed_form_acceleration_end") @implementation
public func speediff_schedule_closed_form_acceleration_end(
  _ schedule: OpaquePointer!, _ t: UnsafeMutablePointer<Double>!
) -> speediff_status {
  reportingStatus {
    let schedule = try ScheduleHandle.value(schedule, "schedule")
    try unwrap(t, "t").pointee = LinearClosedForms(of: schedule).accelerationEnd
  }
}

/// Gives τ(r) from the closed forms.
@_cdecl("speediff_schedule_closed_form_convergence_start") @implementation
public func speediff_schedule_closed_form_convergence_start(
  _ schedule: OpaquePointer!, _ r: Double, _ t: UnsafeMutablePointer<Double>!
) -> speediff_status {
  reportingStatus {
    let schedule = try ScheduleHandle.value(schedule, "schedule")
    try unwrap(t, "t").pointee = LinearClosedForms(of: schedule).convergenceStart(r: r)
  }
}

private func values(of table: speediff_table, for schedule: NoiseSchedule) throws -> [Double] {
  switch table {
  case SPEEDIFF_TABLE_BETAS: schedule.betas
  case SPEEDIFF_TABLE_ALPHAS: schedule.alphas
  case SPEEDIFF_TABLE_ALPHAS_CUMPROD: schedule.alphasCumprod
  case SPEEDIFF_TABLE_SQRT_ALPHAS_CUMPROD: schedule.sqrtAlphasCumprod
  case SPEEDIFF_TABLE_SQRT_ONE_MINUS_ALPHAS_CUMPROD: schedule.sqrtOneMinusAlphasCumprod
  case SPEEDIFF_TABLE_SNR: schedule.snr
  case SPEEDIFF_TABLE_LOG_SNR: schedule.logSNR
  case SPEEDIFF_TABLE_SIGMAS: schedule.sigmas
  case SPEEDIFF_TABLE_INCREMENT_MEAN_FACTOR: ProcessIncrements(of: schedule).meanFactor
  case SPEEDIFF_TABLE_INCREMENT_VARIANCE: ProcessIncrements(of: schedule).variance
  case SPEEDIFF_TABLE_INCREMENT_RATE: ProcessIncrements(of: schedule).rate
  case SPEEDIFF_TABLE_INCREMENT_MAGNITUDE: ProcessIncrements(of: schedule).magnitude
  case SPEEDIFF_TABLE_CLOSED_FORM_MEAN_BOUND: try LinearClosedForms(of: schedule).meanBound
  case SPEEDIFF_TABLE_CLOSED_FORM_VARIANCE: try LinearClosedForms(of: schedule).variance
  case SPEEDIFF_TABLE_CLOSED_FORM_RATE: try LinearClosedForms(of: schedule).rate
  case SPEEDIFF_TABLE_CLOSED_FORM_MAGNITUDE: try LinearClosedForms(of: schedule).magnitude
  default: throw ArgumentError("table", "must be a value of speediff_table", got: table.rawValue)
  }
}

import CSpeeDiff
import NoiseSchedules

/// Spreads steps over sections.
@_cdecl("speediff_respacing_sections") @implementation
public func speediff_respacing_sections(
  _ steps: Int64, _ section_counts: UnsafePointer<Int64>!, _ sections: Int64,
  _ timesteps: UnsafeMutablePointer<Int64>!, _ count: Int64
) -> speediff_status {
  reportingStatus {
    let counts = try array(section_counts, sections, "section_counts").map { Int($0) }
    try store(Respacing.sections(counts, of: Int(steps)), to: timesteps, count: count)
  }
}

/// Finds DDIM's steps.
@_cdecl("speediff_respacing_ddim") @implementation
public func speediff_respacing_ddim(_ steps: Int64, _ timesteps: UnsafeMutablePointer<Int64>!, _ count: Int64)
  -> speediff_status
{
  reportingStatus { try store(Respacing.ddim(Int(count), of: Int(steps)), to: timesteps, count: count) }
}

private func store(_ steps: [Int], to timesteps: UnsafeMutablePointer<Int64>?, count: Int64) throws {
  guard count == steps.count else { throw WrongCountError(argument: "count", expected: steps.count, count: count) }
  let timesteps = try unwrap(timesteps, "timesteps")
  for (i, step) in steps.enumerated() { timesteps[i] = Int64(step) }
}

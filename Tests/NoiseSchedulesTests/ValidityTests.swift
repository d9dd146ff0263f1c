import NoiseSchedules
import Testing

@Suite struct ValidityTests {
  @Test(
    "Betas outside (0, 1], or 1 before the last step, are refused with their place",
    arguments: [
      ([0.1, 0, 0.1], "betas[1] must be in (0, 1], got 0.0"),
      ([0.1, -0.5, 0.1], "betas[1] must be in (0, 1], got -0.5"),
      ([0.1, 1.5, 0.1], "betas[1] must be in (0, 1], got 1.5"),
      ([0.1, .nan, 0.1], "betas[1] must be in (0, 1], got nan"),
      ([.infinity, 0.1], "betas[0] must be in (0, 1], got inf"),
      ([0.1, 1, 0.1], "betas[1] must be below 1 before the last step, got 1.0"),
      ([0.1], "betas must have a number of entries at least 2, got 1"),
      ([], "betas must have a number of entries at least 2, got 0"),
    ])
  func betas(_ betas: [Double], _ message: String) {
    #expect { try NoiseSchedule(betas: betas) } throws: { "\($0)" == message }
  }

  @Test(
    "Tables of ᾱ that do not decrease strictly from below 1 are refused with their place",
    arguments: [
      ([1, 0.5], "alphasCumprod[0] must be below 1, got 1.0"),
      ([0.5, 0.5], "alphasCumprod[1] must be below the entry before it (0.5), got 0.5"),
      ([0.5, .nan], "alphasCumprod[1] must be below the entry before it (0.5), got nan"),
      ([0.5, 0, -0.1], "alphasCumprod[1] must be above 0 (0 only at the last step), got 0.0"),
      ([0.5, -0.1], "alphasCumprod[1] must be above 0 (0 only at the last step), got -0.1"),
    ])
  func alphasCumprod(_ table: [Double], _ message: String) {
    #expect { try NoiseSchedule(alphasCumprod: table) } throws: { "\($0)" == message }
  }

  @Test("A schedule may end at zero terminal signal-to-noise ratio, and its tables say so")
  func zeroTerminalSNR() throws {
    let schedule = try NoiseSchedule(betas: [0.1, 0.5, 1])
    #expect(schedule.alphasCumprod[2] == 0)
    #expect(schedule.snr[2] == 0)
    #expect(schedule.logSNR[2] == -.infinity)
    #expect(schedule.sigmas[2] == .infinity)
    let increments = ProcessIncrements(of: schedule)
    #expect(increments.magnitude[2] == .infinity)
    #expect(try increments.convergenceStart(r: 1e300) == 3)
  }

  @Test("Betas so small that ᾱ stops decreasing in double precision are refused")
  func vanishingBetas() {
    #expect(throws: ArgumentError.self) { try NoiseSchedule(betas: [1e-17, 0.1]) }
  }

  @Test("The linear schedule needs more than 20 steps")
  func linearNeedsMoreThanTwentySteps() throws {
    #expect(throws: ArgumentError.self) { try NoiseSchedule.linear(steps: 20) }
    #expect(try NoiseSchedule.linear(steps: 21).betas.last! < 1)
  }

  @Test("A magnitude that no step reaches is refused with 1/ᾱ at the last step")
  func unreachedMagnitude() throws {
    let schedule = try NoiseSchedule.scaledLinear(steps: 900)
    let last = 1 / schedule.alphasCumprod[899]
    #expect(abs(last - 125) < 0.5)
    #expect { try ProcessIncrements(of: schedule).convergenceStart(r: 143.5) } throws: {
      "\($0)".contains("\(last)") && "\($0)".contains("tau")
    }
  }

  @Test("Betas and ᾱ give the same schedule")
  func bothTables() throws {
    let linear = try NoiseSchedule.linear(steps: 100)
    let other = try NoiseSchedule(alphasCumprod: linear.alphasCumprod)
    for i in 0..<100 { #expect(abs(other.betas[i] - linear.betas[i]) < 1e-14) }
  }
}

import NoiseSchedules
import Testing

/// The numbers of the SpeeD paper's setting, recomputed in NumPy (float64) apart from this code.
@Suite struct KnownAnswerTests {
  struct Areas: Sendable {
    let schedule: NoiseSchedule
    let accelerationEnd: Int
    let convergenceStarts: [Double: Int]
  }

  static let areas: [Areas] = [
    Areas(
      schedule: try! .linear(steps: 1000), accelerationEnd: 220,
      convergenceStarts: [
        2: 260, 5: 397, 10: 476, 20: 543, 50: 621, 100: 674, 138.6: 698, 143.5: 700, 150: 704, 1000: 826,
      ]),
    Areas(
      schedule: try! .quadratic(steps: 1000), accelerationEnd: 412, convergenceStarts: [10: 661, 138.6: 873]),
    Areas(schedule: try! .cosine(steps: 1000), accelerationEnd: 496, convergenceStarts: [10: 794, 138.6: 946]),
    Areas(
      schedule: try! .scaledLinear(steps: 1000), accelerationEnd: 314, convergenceStarts: [10: 675, 138.6: 963]),
  ]

  @Test("The areas of each schedule begin and end at the known steps", arguments: areas)
  func areaBoundaries(_ areas: Areas) throws {
    let increments = ProcessIncrements(of: areas.schedule)
    #expect(increments.accelerationEnd == areas.accelerationEnd)
    for (r, start) in areas.convergenceStarts {
      #expect(try increments.convergenceStart(r: r) == start, "r = \(r)")
    }
  }

  @Test("The closed forms of the linear schedule give the paper's boundaries")
  func closedForms() throws {
    let forms = try LinearClosedForms(of: .linear(steps: 1000))
    #expect(abs(forms.accelerationEnd - 220.143) < 5e-4)
    #expect(abs(forms.magnitude[699] - 138.597) < 5e-4)
    let starts: [Double: Double] = [
      2: 259.94, 5: 398.18, 10: 477.05, 20: 544.70, 50: 623.02, 100: 676.30, 150: 705.62, 1000: 829.20,
    ]
    for (r, start) in starts {
      #expect(abs(try forms.convergenceStart(r: r) - start) < 5e-3, "r = \(r)")
    }
  }

  @Test("The closed-form variance bounds the exact one from below, as Theorem 1 says")
  func closedFormBound() throws {
    let schedule = try NoiseSchedule.linear(steps: 1000)
    let exact = ProcessIncrements(of: schedule).variance
    let bound = try LinearClosedForms(of: schedule).variance
    for t in exact.indices { #expect(bound[t] <= exact[t]) }
  }

  @Test("The increment's variance is that of independent draws, not of the Markov chain")
  func increments() throws {
    let schedule = try NoiseSchedule.linear(steps: 1000)
    let t = 498  // the paper's t = 499
    let alphaBar = schedule.alphasCumprod[t]
    let beta = schedule.betas[t + 1]
    let root = (1 - beta).squareRoot()
    let markov = beta + (1 - root) * (1 - root) * (1 - alphaBar)
    #expect(abs(ProcessIncrements(of: schedule).variance[t] - 1.842) < 5e-4)
    #expect(abs(markov - 0.0101) < 5e-5)
  }

  @Test("Closed forms exist for equally spaced betas alone")
  func closedFormsNeedALine() {
    #expect(throws: ArgumentError.self) { try LinearClosedForms(of: .cosine(steps: 100)) }
    #expect(throws: ArgumentError.self) { try LinearClosedForms(of: .constant(steps: 100)) }
  }
}

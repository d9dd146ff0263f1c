import Kernels
import Testing

@testable import Networks
@testable import Training

@Suite("Initialization")
struct InitializationTests {
  /// 80,000 values in [inputs = 200, outputs = 400].
  static func values(_ initialization: Initialization, seed: UInt64 = 1) throws -> [Double] {
    var list = ParameterList()
    let parameter = list.add("weight", [400, 200], initialization)
    let memory = UnsafeMutablePointer<Float>.allocate(capacity: list.count)
    defer { memory.deallocate() }
    memory.initialize(repeating: .nan, count: list.count)
    initialize(list, at: memory, seed: seed, pool: try ThreadPool(threads: 1))
    return (0..<parameter.count).map { Double(memory[$0]) }
  }

  /// The largest distance between the values' distribution and a law's: Kolmogorov and Smirnov's statistic.
  static func distance(_ values: [Double], _ law: (Double) -> Double) -> Double {
    let sorted = values.sorted()
    return sorted.indices.map { i in
      let (p, n) = (law(sorted[i]), Double(sorted.count))
      return max(abs(p - Double(i) / n), abs(p - Double(i + 1) / n))
    }.max() ?? 1
  }

  /// Above it, 80,000 values of the law are once in a million seeds: √(ln(2·10⁶)/2n).
  static let limit = (14.5 / 160_000).squareRoot()

  @Test(
    "Uniform values have the bounds of their papers",
    arguments: [
      (Initialization.xavierUniform(inputs: 200, outputs: 400), 0.1), (.kaimingUniform(inputs: 200), 0.173_205_080_757),
    ])
  func uniform(initialization: Initialization, bound: Double) throws {
    let values = try Self.values(initialization)
    #expect(values.allSatisfy { abs($0) <= bound * (1 + 1e-6) })
    #expect(Self.distance(values) { ($0 / bound + 1) / 2 } < Self.limit)
  }

  @Test(
    "Normal values have the deviations of their papers",
    arguments: [
      (Initialization.xavierNormal(inputs: 200, outputs: 400), 0.057_735_026_919), (.kaimingNormal(inputs: 200), 0.1),
      (.normal(standardDeviation: 0.02), 0.02),
    ])
  func normal(initialization: Initialization, deviation: Double) throws {
    // The distribution function by Simpson's rule on a grid, which is far more exact than the limit.
    let steps = 4000
    let density = (0...2 * steps).map { i -> Double in
      let z = Double(i - steps) / Double(steps) * 8
      return Double.exp(-z * z / 2) / (2 * Double.pi).squareRoot()
    }
    var sums = [0.0]
    for i in stride(from: 2, through: 2 * steps, by: 2) {
      sums.append(sums[i / 2 - 1] + (density[i - 2] + 4 * density[i - 1] + density[i]) * 8 / Double(steps) / 3)
    }
    let values = try Self.values(initialization)
    let distance = Self.distance(values) { value in
      let place = (value / deviation / 8 + 1) / 2 * Double(steps)
      let low = max(0, min(steps - 1, Int(place)))
      return sums[low] + (place - Double(low)) * (sums[low + 1] - sums[low])
    }
    #expect(distance < Self.limit)
  }
}

import NoiseSchedules
import TimestepSampling

/// Times the draw from Swift, which `python/benchmarks/per_step.py` compares with the draw through the C ABI.
///
/// Prints one line per batch size, `n minimum median`, in microseconds per batch.
@main
enum DrawBenchmark {
  static func main() throws {
    let sampler = try TimestepSampler.speed(schedule: .linear(steps: 1000), options: SamplerOptions(seed: 0))
    for count in [16, 256, 4096] {
      let timesteps = UnsafeMutablePointer<Int64>.allocate(capacity: count)
      let weights = UnsafeMutablePointer<Float>.allocate(capacity: count)
      defer {
        timesteps.deallocate()
        weights.deallocate()
      }
      let calls = 400_000 / count + 20
      var times: [Double] = []
      for repeat_ in 0..<60 {
        let elapsed = try ContinuousClock().measure {
          for call in 0..<calls {
            try sampler.draw(
              firstCall: UInt64(repeat_ * calls + call), calls: 1, count: count, timesteps: timesteps,
              weights: weights)
          }
        }
        times.append(elapsed / .microseconds(1) / Double(calls))
      }
      // The first ones warm up.
      times = times.dropFirst(10).sorted()
      print(count, times[0], times[times.count / 2])
    }
  }
}

import Kernels
import Networks
import TimestepSampling

/// Writes the initial values of a network's parameters, a function of the seed and of each parameter's place in the list.
func initialize(
  _ list: ParameterList, at base: UnsafeMutablePointer<Float>, seed: UInt64, pool: ThreadPool
) {
  var program = Program(threads: pool.threads)
  program.tasks(list.parameters.count) { index in
    let parameter = list.parameters[index]
    let values = base + parameter.offset
    switch parameter.initialization {
    case .zero:
      values.update(repeating: 0, count: parameter.count)
    case .normal(let standardDeviation):
      Noise(seed: seed, purpose: .initialization, step: UInt64(index))
        .fill(values, entry: 0, elements: parameter.count)
      for i in 0..<parameter.count { values[i] *= standardDeviation }
    case .sineCosinePositions(let grid):
      sineCosinePositions(grid: grid, into: Matrix(values, columns: parameter.count / (grid * grid)))
    case .xavierUniform(let inputs, let outputs):
      let bound = (6 / Float(inputs + outputs)).squareRoot()
      fillUniform(
        values, parameter.count, within: bound, RandomStream(seed: seed, purpose: .initialization, step: UInt64(index)))
    }
  }
  pool.run(program)
}

/// Uniform values in (-bound, bound), one per word of a stream.
private func fillUniform(
  _ out: UnsafeMutablePointer<Float>, _ count: Int, within bound: Float, _ stream: RandomStream
) {
  withUnsafeTemporaryAllocation(of: UInt32.self, capacity: RandomStream.chunk) { words in
    // The allocation is not empty, so it has a base address.
    let words = words.baseAddress!
    var first = 0
    while first < count {
      stream.storeInOrder(fromBlock: UInt32(truncatingIfNeeded: first / 4), into: words)
      for i in 0..<min(RandomStream.chunk, count &- first) {
        // The upper 24 bits, which a float holds exactly, at the middle of their interval.
        let fraction = (Float(words[i] &>> 8) + 0.5) * 0x1p-24
        out[first &+ i] = (2 * fraction - 1) * bound
      }
      first &+= RandomStream.chunk
    }
  }
}

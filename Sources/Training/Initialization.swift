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
    let values = UnsafeMutableBufferPointer(start: base + parameter.offset, count: parameter.count)
    switch parameter.initialization {
    case .zero: values.update(repeating: 0)
    case .normal(let standardDeviation): fillNormal(values, standardDeviation, seed: seed, index)
    case .sineCosinePositions(let grid):
      sineCosinePositions(grid: grid, into: Matrix(base + parameter.offset, columns: parameter.count / (grid * grid)))
    case .xavierUniform(let inputs, let outputs):
      fillUniform(values, within: (6 / Float(inputs + outputs)).squareRoot(), seed: seed, index)
    case .xavierNormal(let inputs, let outputs):
      fillNormal(values, (2 / Float(inputs + outputs)).squareRoot(), seed: seed, index)
    case .kaimingUniform(let inputs): fillUniform(values, within: (6 / Float(inputs)).squareRoot(), seed: seed, index)
    case .kaimingNormal(let inputs): fillNormal(values, (2 / Float(inputs)).squareRoot(), seed: seed, index)
    }
  }
  pool.run(program)
}

/// Normal values with mean 0.
private func fillNormal(
  _ out: UnsafeMutableBufferPointer<Float>, _ standardDeviation: Float, seed: UInt64, _ index: Int
) {
  // A parameter is not empty, so it has a base address.
  Noise(seed: seed, purpose: .initialization, step: UInt64(index))
    .fill(out.baseAddress!, entry: 0, elements: out.count)
  for i in out.indices { out[i] *= standardDeviation }
}

/// Uniform values in (-bound, bound), one per word of a stream.
private func fillUniform(
  _ out: UnsafeMutableBufferPointer<Float>, within bound: Float, seed: UInt64, _ index: Int
) {
  let (stream, count) = (RandomStream(seed: seed, purpose: .initialization, step: UInt64(index)), out.count)
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

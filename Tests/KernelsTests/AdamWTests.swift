import Kernels
import Oracles
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

@Suite("AdamW")
struct AdamWTests {
  @Test(
    "Five updates are those of the formula in double precision, for some of the parameters at a time",
    arguments: [1, 3, 15, 16, 17, 48, 100], [0, 0.05])
  func updates(count: Int, decay: Double) {
    var numbers = Numbers(seed: UInt64(count))
    let names = ["parameters", "exp_avg", "exp_avg_sq", "average"]
    var expected = [Table(1, count, of: &numbers)] + (0..<2).map { _ in Table(1, count) { _, _ in 0 } }
    expected.append(Table(1, count, of: &numbers))
    let memory = expected.map { StridedMemory($0) }
    let (rate, beta1, beta2, epsilon, emaDecay, scale) = (0.01, 0.9, 0.999, 1e-8, 0.99, 0.25)
    for update in 1...5 {
      // One gradient is 0 throughout, so that ε counts.
      var gradient = Table(1, count, within: 3, of: &numbers)
      gradient[0, count - 1] = 0
      let gradientMemory = StridedMemory(gradient)
      defer { withExtendedLifetime(gradientMemory) {} }
      let powers = (pow(beta1, Double(update)), pow(beta2, Double(update)))
      let state = AdamWState(
        parameters: memory[0].matrix.base, gradients: gradientMemory.matrix.base, firstMoment: memory[1].matrix.base,
        secondMoment: memory[2].matrix.base, average: memory[3].matrix.base)
      let coefficients = AdamWCoefficients(
        learningRate: rate, beta1: beta1, beta2: beta2, epsilon: epsilon, weightDecay: decay, beta1Power: powers.0,
        beta2Power: powers.1, emaDecay: emaDecay, gradientScale: scale)
      for range in Buffers.parts(count) { adamWUpdate(state, coefficients, range: range) }
      for i in 0..<count {
        let g = scale * gradient[0, i]
        expected[1][0, i] = beta1 * expected[1][0, i] + (1 - beta1) * g
        expected[2][0, i] = beta2 * expected[2][0, i] + (1 - beta2) * g * g
        let mean = expected[1][0, i] / (1 - powers.0)
        let root = (expected[2][0, i] / (1 - powers.1)).squareRoot()
        expected[0][0, i] *= 1 - rate * decay
        expected[0][0, i] -= rate * mean / (root + epsilon)
        expected[3][0, i] = emaDecay * expected[3][0, i] + (1 - emaDecay) * expected[0][0, i]
      }
    }
    for i in 0..<4 {
      let difference = Difference(names[i], got: memory[i].table, expected: expected[i])
      #expect(difference.relative < 1e-6 && !memory[i].isOverrun, "\(difference)")
    }
  }

  @Test("A sum of squares is that of doubles, beyond what floats hold", arguments: [1, 15, 16, 17, 100])
  func squares(count: Int) {
    var numbers = Numbers(seed: 3)
    let x = (0..<count).map { _ in Float.random(in: -1.5e38...1.5e38, using: &numbers) }
    for range in Buffers.parts(count) {
      let wanted = x[range].reduce(0) { $0 + Double($1) * Double($1) }
      #expect(abs(sumOfSquares(x, range: range) - wanted) <= 1e-14 * wanted)
    }
  }

  @Test("A sum of squares is finite if and only if all floats are", arguments: [Float.infinity, -.infinity, .nan])
  func finiteness(value: Float) {
    for i in 0..<40 {
      var x = [Float](repeating: -.greatestFiniteMagnitude, count: 40)
      #expect(sumOfSquares(x, range: 0..<40).isFinite)
      x[i] = value
      #expect(!sumOfSquares(x, range: 0..<40).isFinite)
      #expect(sumOfSquares(x, range: 0..<i).isFinite && sumOfSquares(x, range: i + 1..<40).isFinite)
    }
  }
}

@Suite("Positions")
struct PositionTests {
  @Test("Positions are sines and cosines of x, then of y", arguments: [(1, 4), (3, 12), (5, 384)])
  func positions(grid: Int, columns: Int) {
    let memory = StridedMemory(rows: grid * grid, columns: columns)
    sineCosinePositions(grid: grid, into: memory.matrix)
    let quarter = columns / 4
    let expected = Table(grid * grid, columns) { place, c in
      let coordinate = Double(c < 2 * quarter ? place % grid : place / grid)
      let angle = coordinate * pow(10000, -Double(c % quarter) / Double(quarter))
      return c / quarter % 2 == 0 ? sin(angle) : cos(angle)
    }
    let difference = Difference("the table", got: memory.table, expected: expected)
    #expect(difference.relative < 1e-7 && !memory.isOverrun, "\(difference)")
  }
}

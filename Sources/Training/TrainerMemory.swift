import NoiseSchedules
import Kernels
import Networks

/// The parameters of a trainer, and what is stored for each of them.
final class TrainerMemory {
  let parameters: FloatMemory
  let gradients: FloatMemory
  let firstMoment: FloatMemory
  let secondMoment: FloatMemory
  let average: FloatMemory
  /// Empty for a network without fixed tensors.
  let fixed: FloatMemory
  /// The fixed tensors as matrices, in the network's order.
  let fixedTensors: [Matrix]
  private let partialSums: UnsafeMutablePointer<Double>
  private let tasks: Int
  private let norm: Program
  private let update: Program
  private let next = NextUpdate()

  /// The floats of one task.
  private static let chunk = 1 << 16

  init(_ network: any DiffusionNetwork, threads: Int) throws {
    let count = network.parameters.count
    let fixedCount = network.fixedTensors.count
    try FloatMemory.check(count: 5 * count + fixedCount, for: "parameters, gradients, moments and average")
    parameters = try FloatMemory(count: count, for: "parameters")
    gradients = try FloatMemory(count: count, for: "gradients")
    firstMoment = try FloatMemory(count: count, for: "exp_avg")
    secondMoment = try FloatMemory(count: count, for: "exp_avg_sq")
    average = try FloatMemory(count: count, for: "ema_parameters")
    fixed = try FloatMemory(count: fixedCount, for: "fixed tensors")
    fixedTensors = network.fixedTensors.tensors.map { [fixed] in
      $0.write(fixed.base + $0.offset)
      return Matrix(fixed.base + $0.offset, columns: $0.columns)
    }
    let tasks = count / Self.chunk + 1
    let partialSums = UnsafeMutablePointer<Double>.allocate(capacity: tasks)
    (self.tasks, self.partialSums) = (tasks, partialSums)

    func range(_ task: Int) -> Range<Int> { task * Self.chunk..<min((task + 1) * Self.chunk, count) }
    var norm = Program(threads: threads)
    norm.tasks(tasks) { [gradients] in partialSums[$0] = sumOfSquares(gradients.base, range: range($0)) }
    let state = AdamWState(
      parameters: parameters.base, gradients: gradients.base, firstMoment: firstMoment.base,
      secondMoment: secondMoment.base, average: average.base)
    var update = Program(threads: threads)
    update.tasks(tasks) { [next] in
      if let coefficients = next.coefficients { adamWUpdate(state, coefficients, range: range($0)) }
    }
    (self.norm, self.update) = (norm, update)
  }

  deinit { partialSums.deallocate() }

  /// The floats that do not depend on the batch.
  var total: Int { 5 * parameters.count + fixed.count }

  /// The Euclidean norm of all gradients; the same for every number of threads.
  func gradientNorm(_ pool: ThreadPool) -> Double {
    pool.run(norm)
    return (0..<tasks).reduce(0) { $0 + partialSums[$1] }.squareRoot()
  }

  func update(_ coefficients: AdamWCoefficients, _ pool: ThreadPool) {
    next.coefficients = coefficients
    pool.run(update)
  }

  /// The first parameter, from the network's input on, that is not finite.
  func firstNonFiniteParameter(of list: ParameterList) -> String? {
    list.parameters.first { !Self.isFinite(parameters, $0) }?.name
  }

  /// The last parameter, from the network's input on, whose gradient is not finite: the first in the backward pass.
  func lastNonFiniteGradient(of list: ParameterList) -> String? {
    list.parameters.last { !Self.isFinite(gradients, $0) }?.name
  }

  private static func isFinite(_ memory: FloatMemory, _ parameter: Parameter) -> Bool {
    sumOfSquares(memory.base, range: parameter.offset..<parameter.offset + parameter.count).isFinite
  }
}

/// The input of an update's program.
private final class NextUpdate: @unchecked Sendable {
  var coefficients: AdamWCoefficients?
}

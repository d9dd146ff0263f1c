import Kernels

/// A recorded network with its memory layout. Once memory is bound, it can be appended to programs.
public final class Plan {
  /// The floats of activations, their gradients and scratch.
  public let activationCount: Int
  /// The network's output.
  public let output: Tensor

  private let recorder: Recorder
  private let memory: Memory
  private let plan: MemoryPlan
  private var base: UnsafeMutablePointer<Float>?
  private var valueBuffers: [Tensor: (forward: Int, back: Int)] = [:]
  private var gradientBuffers: [Tensor: Int] = [:]
  private let packedWeights: [Int: [(parameter: Parameter, buffer: Int)]]

  /// Lays out memory.
  ///
  /// - Parameters:
  ///   - recorder: the recorded network.
  ///   - output: its output; the caller sets its gradient between forward and backward.
  ///   - parameters: where the parameters are.
  /// - Throws: `MemoryError` if no machine has this much memory.
  public init(_ recorder: Recorder, output: Tensor, parameters: ParameterMemory) throws {
    recorder.roundTensors(output: output)
    recorder.recomputeSums()
    var layout = Lifetimes(recorder, output: output)
    try layout.plan.layOut()
    let scratchSize = (recorder.operations.map(\.operation.scratch).max() ?? 0).roundedUp
    self.recorder = recorder
    self.output = output
    plan = layout.plan
    packedWeights = layout.packedWeights
    valueBuffers = layout.values
    gradientBuffers = layout.gradients
    activationCount = plan.count + scratchSize * recorder.threads
    memory = Memory(
      threads: recorder.threads, precision: recorder.precision, parameters: parameters, scratchSize: scratchSize)
  }

  /// Binds memory for `activationCount` floats, which must outlive the plan. Plans may share it, one at a time.
  public func place(at base: UnsafeMutablePointer<Float>) {
    self.base = base
    memory.scratch = base + plan.count
    for (tensor, buffers) in valueBuffers { memory.place(tensor, at: address(buffers.forward)) }
    for (tensor, buffer) in gradientBuffers { memory.placeGradient(of: tensor, at: address(buffer)) }
  }

  /// The value of an input, or of the output.
  public func value(of tensor: Tensor) -> Matrix { memory[tensor] }

  /// The gradient of the output.
  public var outputGradient: Matrix { memory.gradient(ofOutput: output) }

  /// Appends the forward pass.
  public func appendForward(to program: inout Program) {
    var scope = -1
    for (operation, itsScope) in recorder.operations {
      if itsScope != scope {
        program.cut()
        scope = itsScope
        appendPacking(at: scope, to: &program)
      }
      operation.forward(&program, memory)
    }
    program.cut()
  }

  /// Appends the packing of weights for a part of the forward or backward pass.
  private func appendPacking(at time: Int, to program: inout Program) {
    memory.packedWeights = [:]
    let threads = program.threads
    for (parameter, buffer) in packedWeights[time] ?? [] {
      let (weight, place) = (memory[parameter], address(buffer))
      let packed =
        time < recorder.scopes
        ? PackedFactor(forward: weight, outputs: parameter.rows, recorder.precision, at: place)
        : PackedFactor(back: weight, outputs: parameter.rows, recorder.precision, at: place)
      memory.packedWeights[parameter.offset] = packed
      program.deferTasks(threads) { packed.pack($0, of: threads) }
    }
    program.runDeferred()
  }

  /// Repeats the forward pass with the inputs of the last run, operation by operation, and names the first output with a
  /// value that is not finite; nil if there is none.
  public func firstNonFiniteOperation() -> String? {
    // This is done once, so it does not need the pool, and its programs are made only now.
    guard let base, let pool = try? ThreadPool(threads: 1) else { return nil }
    // The backward pass has moved what it recomputes.
    place(at: base)
    var scope = -1
    for (operation, itsScope) in recorder.operations {
      var program = Program(threads: 1)
      if itsScope != scope {
        scope = itsScope
        appendPacking(at: scope, to: &program)
      }
      operation.forward(&program, memory)
      pool.run(program)
      let (output, rows) = (memory[operation.output], operation.output.rows.count)
      if !(0..<rows).allSatisfy(output.isFinite) { return operation.name(in: scope) }
    }
    return nil
  }

  /// Appends the backward pass.
  ///
  /// - Parameter begun: the offsets of the parameters whose gradients an earlier part of the same run writes.
  /// - Returns: the offsets of those whose gradients this part writes.
  @discardableResult
  public func appendBackward(to program: inout Program, begun: Set<Int> = []) -> Set<Int> {
    memory.begunBefore = begun
    memory.begin(output)
    var scope = -1
    for (operation, itsScope) in recorder.operations.reversed() where operation.output.needsGradient {
      // The next scope may reuse this one's memory.
      if itsScope != scope {
        program.runDeferred()
        scope = itsScope
        appendPacking(at: 2 * recorder.scopes - 1 - scope, to: &program)
      }
      for tensor in operation.neededByBackward { recompute(tensor.root, &program) }
      checkGradient(of: operation.output)
      memory.passed = nil
      if let tensor = operation.passesGradientTo, tensor.needsGradient, tensor.whole == nil, !memory.hasBegun(tensor) {
        memory.begin(tensor)
        memory.passed = tensor
      }
      operation.backward(&program, memory)
    }
    program.runDeferred()
    return memory.begunParameters
  }

  private var recomputed: Set<Tensor> = []

  /// Recomputes a value that was not kept, after those that it depends on.
  private func recompute(_ tensor: Tensor, _ program: inout Program) {
    guard tensor.isRecomputed, recomputed.insert(tensor).inserted else { return }
    guard let operation = recorder.producer(of: tensor) else { return }
    for input in operation.inputs { recompute(input.root, &program) }
    guard let buffers = valueBuffers[tensor], buffers.back != buffers.forward else { return }
    memory.place(tensor, at: address(buffers.back))
    operation.forward(&program, memory)
  }

  /// Checks that a divided tensor gets a gradient in all of its columns.
  private func checkGradient(of tensor: Tensor) {
    guard !memory.hasBegun(tensor) else { return }
    let parts = (recorder.partsRead[tensor] ?? []).filter(memory.hasBegun)
    let columns = Set(parts.map(\.firstColumn)).count * (parts.first?.columns ?? 0)
    precondition(columns == tensor.columns, "an output has no gradient, or not in all of its columns")
  }

  private func address(_ buffer: Int) -> UnsafeMutablePointer<Float> {
    guard let base else { preconditionFailure("a plan is placed before it is used") }
    return base + plan.buffers[buffer].offset
  }
}

/// The lifetime of each value and gradient.
private struct Lifetimes {
  var plan = MemoryPlan()
  var values: [Tensor: (forward: Int, back: Int)] = [:]
  var gradients: [Tensor: Int] = [:]
  /// By time.
  var packedWeights: [Int: [(parameter: Parameter, buffer: Int)]] = [:]

  init(_ recorder: Recorder, output: Tensor) {
    let last = 2 * recorder.scopes - 1
    var forward: [Tensor: ClosedRange<Int>] = [:]
    var back: [Tensor: ClosedRange<Int>] = [:]
    var gradient: [Tensor: ClosedRange<Int>] = [:]
    // Inputs are written before the run and may be read in any part of it.
    for tensor in recorder.inputs { forward[tensor] = 0...last }
    for (operation, scope) in recorder.operations {
      for tensor in [operation.output] + operation.notes { forward.extend(tensor.root, to: scope) }
      for tensor in operation.inputs { forward.extend(tensor.root, to: scope) }
    }
    // The loss reads it while it writes its gradient.
    forward.extend(output.root, to: recorder.scopes)
    if recorder.isTraining {
      gradient.extend(output.root, to: recorder.scopes)
      var shared: [Tensor: Tensor] = [:]
      for (operation, scope) in recorder.operations.reversed() where operation.output.needsGradient {
        let time = last - scope
        let target = shared.resolve(operation.output.root)
        if let tensor = operation.passesGradientTo, tensor.needsGradient, gradient[tensor] == nil,
          shared[tensor] == nil, tensor.whole == nil
        {
          shared[tensor] = target
        }
        gradient.extend(target, to: time)
        for tensor in operation.noteGradients { gradient.extend(tensor, to: time) }
        for tensor in operation.inputs where tensor.needsGradient {
          gradient.extend(shared.resolve(tensor.root), to: time)
        }
        for tensor in operation.neededByBackward + operation.notes {
          Self.need(tensor.root, at: time, recorder, &forward, &back)
        }
      }
      for (tensor, lifetime) in gradient.ordered {
        gradients[tensor] = plan.add(size: tensor.size(tensor.gradientPrecision), lifetime: lifetime)
      }
      for tensor in shared.keys { gradients[tensor] = gradients[shared.resolve(tensor)] }
    }
    for (operation, scope) in recorder.operations {
      for time in recorder.isTraining && operation.inputs.contains(where: \.needsGradient)
        ? [scope, last - scope] : [scope]
      {
        for weight in operation.packedWeights {
          add(weight, recorder.precision, at: time)
        }
      }
    }
    for (tensor, lifetime) in forward.ordered {
      // A value that is needed again at once is kept.
      let again = back[tensor]
      let stays = again.map { $0.lowerBound <= lifetime.upperBound + 1 } ?? false
      let whole = stays ? lifetime.lowerBound...max(lifetime.upperBound, again?.upperBound ?? 0) : lifetime
      let buffer = plan.add(size: tensor.size(tensor.precision), lifetime: whole)
      let second = stays ? nil : again.map { plan.add(size: tensor.size(tensor.precision), lifetime: $0) }
      values[tensor] = (buffer, second ?? buffer)
    }
  }

  private mutating func add(_ weight: Parameter, _ precision: Precision, at time: Int) {
    let size = PackedFactor.count(outputs: weight.rows, inputs: weight.columns, precision)
    guard size > 0, packedWeights[time]?.contains(where: { $0.parameter.offset == weight.offset }) != true else {
      return
    }
    packedWeights[time, default: []].append((weight, plan.add(size: size, lifetime: time...time)))
  }

  /// Records that the backward pass reads a value.
  private static func need(
    _ tensor: Tensor, at time: Int, _ recorder: Recorder, _ forward: inout [Tensor: ClosedRange<Int>],
    _ back: inout [Tensor: ClosedRange<Int>]
  ) {
    guard tensor.isRecomputed else { return forward.extend(tensor, to: time) }
    let isFirst = back[tensor] == nil
    back.extend(tensor, to: time)
    guard isFirst, let operation = recorder.producer(of: tensor) else { return }
    for input in operation.inputs + operation.notes { need(input.root, at: time, recorder, &forward, &back) }
  }
}

extension Tensor {
  /// The maximum number of floats of memory in some precision; the largest integer if that is beyond any machine.
  fileprivate func size(_ precision: Precision) -> Int {
    let (size, overflow) = rows.maximum.multipliedReportingOverflow(by: precision.floats(columns))
    return overflow ? Int.max / 16 : size.roundedUp
  }
}

extension Int {
  /// Rounded up to a multiple of 16.
  fileprivate var roundedUp: Int { self > Int.max / 16 ? Int.max / 16 : (self + 15) / 16 * 16 }
}

extension [Tensor: ClosedRange<Int>] {
  fileprivate mutating func extend(_ tensor: Tensor, to time: Int) {
    let lifetime = self[tensor] ?? time...time
    self[tensor] = Swift.min(lifetime.lowerBound, time)...Swift.max(lifetime.upperBound, time)
  }

  /// In an order that does not depend on the addresses of objects.
  fileprivate var ordered: [(key: Tensor, value: ClosedRange<Int>)] {
    sorted {
      ($0.value.lowerBound, $0.value.upperBound, $0.key.size(.float32))
        < ($1.value.lowerBound, $1.value.upperBound, $1.key.size(.float32))
    }
  }
}

extension [Tensor: Tensor] {
  fileprivate func resolve(_ tensor: Tensor) -> Tensor {
    var tensor = tensor
    while let next = self[tensor] { tensor = next }
    return tensor
  }
}

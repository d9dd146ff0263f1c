import Kernels
import Oracles
import Testing

@testable import Networks

@Suite("Memory plans")
struct MemoryPlanTests {
  @Test("No two buffers that live at the same time overlap, and none is outside", arguments: 0..<100)
  func overlaps(seed: Int) throws {
    var numbers = Numbers(seed: UInt64(seed))
    var plan = MemoryPlan()
    let longest = Int.random(in: 0...20, using: &numbers)
    for index in 0..<Int.random(in: 1...60, using: &numbers) {
      let start = Int.random(in: 0...20, using: &numbers)
      let size = Bool.random(using: &numbers) ? Int.random(in: 1...40, using: &numbers) : 16 * index
      #expect(plan.add(size: size, lifetime: start...start + Int.random(in: 0...longest, using: &numbers)) == index)
    }
    try plan.layOut()
    for (i, a) in plan.buffers.enumerated() {
      #expect(a.offset >= 0 && a.offset % 16 == 0 && a.offset + a.size <= plan.count)
      for (j, b) in plan.buffers.enumerated() where i < j && a.lifetime.overlaps(b.lifetime) {
        #expect(
          a.offset + a.size <= b.offset || b.offset + b.size <= a.offset,
          "\(a) and \(b) share memory")
      }
    }
    // What all live at one time need is a bound from below, and what they need one after the other one from above.
    let sizes = plan.buffers.map { ($0.size + 15) / 16 * 16 }
    let most = (0...40).map { time in
      zip(plan.buffers, sizes).reduce(0) { $0 + ($1.0.lifetime.contains(time) ? $1.1 : 0) }
    }
    #expect(plan.count >= most.max()! && plan.count <= sizes.reduce(0, +))
  }

  @Test("Buffers that follow each other share memory")
  func sharing() throws {
    var plan = MemoryPlan()
    for time in 0..<10 { _ = plan.add(size: 100, lifetime: time...time) }
    _ = plan.add(size: 20, lifetime: 3...4)
    try plan.layOut()
    #expect(plan.count == 112 + 32)
  }

  @Test("Sizes beyond any machine are an error")
  func tooMuch() {
    var plan = MemoryPlan()
    for _ in 0..<20 { _ = plan.add(size: .max / 16, lifetime: 0...1) }
    #expect(throws: MemoryError.self) { try plan.layOut() }
  }

  @Test("Memory for one more block grows by what it keeps, and cheap values are not among that")
  func growth() throws {
    func activations(blocks: Int, keepsAll: Bool) throws -> Int {
      let samples = Samples(maximum: 4)
      let net = TwinNetwork(samples: samples, threads: 1, keepsAll: keepsAll)
      var x = net.linear(net.input(Rows(samples, length: 32), columns: 8), 16)
      let c = net.chunked(net.linear(net.input(Rows(samples, length: 1), columns: 3), 32), 2)
      for _ in 0..<blocks {
        net.beginScope()
        x = net.sum(x, net.mlp(net.modulatedLayerNorm(x, shift: c[0], scale: c[1]), hidden: 64))
      }
      var numbers = Numbers(seed: 0)
      net.setParameters(&numbers)
      return try RecordedNetwork(net, output: x).plan.activationCount
    }
    let kept = try activations(blocks: 9, keepsAll: true) - activations(blocks: 8, keepsAll: true)
    let made = try activations(blocks: 9, keepsAll: false) - activations(blocks: 8, keepsAll: false)
    let tokens = 4 * 32
    #expect(made == tokens * (16 + 2 + 64), "the block's input, its mean and scaling, and what GELU reads")
    #expect(kept == made + tokens * 16)
  }

  @Test("A program is made of each operation once", arguments: [true, false])
  func recordedOnce(isTraining: Bool) throws {
    let samples = Samples(maximum: 2)
    let tape = Recorder(samples: samples, threads: 1, isTraining: isTraining)
    let (x, calls) = (tape.input(Rows(samples, length: 3), columns: 4), CountedOperation.Calls())
    let output = tape.record(CountedOperation(x: x, output: tape.output(x.rows, columns: 4, of: [x]), calls: calls))
    let parameters = try FloatMemory(count: 1, for: "parameters")
    let plan = try Plan(tape, output: output, parameters: ParameterMemory(parameters: parameters.base))
    let memory = try FloatMemory(count: plan.activationCount, for: "activations")
    plan.place(at: memory.base)
    var program = Program(threads: 1)
    plan.appendForward(to: &program)
    #expect(calls.count == 1)
    #expect(plan.firstNonFiniteOperation() == nil && calls.count == 2, "a search makes its own programs")
  }

  @Test("The first operation whose output is not finite is named")
  func firstNonFinite() throws {
    let samples = Samples(maximum: 2)
    let net = TwinNetwork(samples: samples, threads: 2)
    let x = net.linear(net.input(Rows(samples, length: 3), columns: 4), 4)
    net.beginScope()
    let layer = net.layer(4, 4)
    let y = net.sum(x, net.linear(net.silu(net.linear(x, layer)), 4))
    var numbers = Numbers(seed: 0)
    net.setParameters(&numbers)
    net.setInputs(&numbers)
    let recorded = try RecordedNetwork(net, output: y)
    recorded.run(weights: Table(6, 4, of: &numbers))
    #expect(recorded.plan.firstNonFiniteOperation() == nil)
    recorded.set(layer.weight, 5, to: .infinity)
    recorded.run(weights: Table(6, 4, of: &numbers))
    #expect(recorded.plan.firstNonFiniteOperation() == String(layer.weight.name.dropLast(7)))
  }
}

/// Copies its input, and counts how often it was appended to a program.
private struct CountedOperation: Networks.Operation {
  final class Calls { var count = 0 }

  let x: Tensor
  let output: Tensor
  let calls: Calls

  var inputs: [Tensor] { [x] }

  func forward(_ program: inout Program, _ memory: Memory) {
    calls.count += 1
    let (x, y) = (memory[x], memory[output])
    program.rows(output.rows) { rows in
      for r in rows { y.row(r).update(from: x.row(r), count: 4) }
    }
  }

  func backward(_ program: inout Program, _ memory: Memory) {}
}

import Kernels

/// The tokens that a masked network keeps: a permutation per sample, of which the first are kept.
///
/// Written before each run, as is `kept.length`.
public final class TokenOrder: @unchecked Sendable {
  /// A permutation of `length` tokens for each sample, one after the other.
  public let base: UnsafeMutablePointer<Int32>
  /// The tokens of a sample.
  public let length: Int
  /// The rows of the kept tokens; their length is the number of kept tokens.
  public let kept: Rows

  /// - Throws: `MemoryError` if the machine does not have the memory.
  init(_ samples: Samples, length: Int) throws {
    let (count, overflow) = samples.maximum.multipliedReportingOverflow(by: length)
    try FloatMemory.check(count: overflow ? Int.max / 16 : count, for: "masks")
    self.length = length
    kept = Rows(samples, length: length)
    base = .allocate(capacity: samples.maximum * length)
    for i in 0..<samples.maximum * length { (base + i).initialize(to: Int32(i % length)) }
  }

  deinit { base.deallocate() }

  /// Sets the tokens that a sample keeps: `kept.length` different ones.
  public func keep(_ tokens: [Int], sample: Int) {
    let tokens = tokens + Set(0..<length).subtracting(tokens).sorted()
    for (i, token) in tokens.enumerated() { base[sample * length + i] = Int32(token) }
  }
}

/// The kept tokens.
struct KeepOperation: Operation {
  let x: Tensor
  let order: TokenOrder
  let output: Tensor

  var inputs: [Tensor] { [x] }
  var neededByBackward: [Tensor] { [] }

  func forward(_ program: inout Program, _ memory: Memory) {
    let (x, y, order) = (memory[x], memory[output], order)
    program.samples(of: output.rows) {
      keepForward(x, order: order.base, into: y, length: order.length, kept: order.kept.length, samples: $0)
    }
  }

  func backward(_ program: inout Program, _ memory: Memory) {
    let (dy, order) = (memory.gradient(ofOutput: output), order)
    guard let dx = memory.gradient(of: x) else { return }
    program.samples(of: output.rows) {
      keepBackward(order: order.base, dy: dy, dx: dx, length: order.length, kept: order.kept.length, samples: $0)
    }
  }
}

/// The kept tokens back in their places, and one trained token in the places of the others.
struct RestoreOperation: Operation {
  let x: Tensor
  let token: Parameter
  let order: TokenOrder
  let output: Tensor

  var inputs: [Tensor] { [x] }
  var neededByBackward: [Tensor] { [] }

  func forward(_ program: inout Program, _ memory: Memory) {
    let (x, y, token, order) = (memory[x], memory[output], memory[token].base, order)
    program.samples(of: output.rows) {
      restoreForward(
        x, token: token, order: order.base, into: y, length: order.length, kept: order.kept.length, samples: $0)
    }
  }

  func backward(_ program: inout Program, _ memory: Memory) {
    let (dy, order) = (memory.gradient(ofOutput: output), order)
    if let dx = memory.gradient(of: x) {
      program.samples(of: output.rows) {
        restoreBackward(order: order.base, dy: dy, dx: dx, length: order.length, kept: order.kept.length, samples: $0)
      }
    }
    let dToken = memory.gradient(of: token, &program)
    program.deferTasks(1) { _ in
      restoreTokenBackward(
        order: order.base, dy: dy, dToken: dToken(), length: order.length, kept: order.kept.length,
        samples: order.kept.samples.count)
    }
  }
}

/// One tensor where tokens were removed, and another where they were kept.
struct ChooseOperation: Operation {
  let masked: Tensor
  let present: Tensor
  let order: TokenOrder
  let output: Tensor

  var inputs: [Tensor] { [masked, present] }
  var neededByBackward: [Tensor] { [] }

  func forward(_ program: inout Program, _ memory: Memory) {
    let (masked, present, y, order) = (memory[masked], memory[present], memory[output], order)
    program.samples(of: output.rows) {
      chooseForward(
        masked: masked, present: present, order: order.base, into: y, length: order.length, kept: order.kept.length,
        samples: $0)
    }
  }

  func backward(_ program: inout Program, _ memory: Memory) {
    let (dy, order) = (memory.gradient(ofOutput: output), order)
    let (dMasked, dPresent) = (memory.gradient(of: masked), memory.gradient(of: present))
    program.samples(of: output.rows) {
      chooseBackward(
        order: order.base, dy: dy, dMasked: dMasked, dPresent: dPresent, length: order.length,
        kept: order.kept.length, samples: $0)
    }
  }
}

extension Recorder {
  /// Which of `length` tokens are kept; written before each run.
  ///
  /// - Throws: `MemoryError` if the machine does not have the memory.
  public func tokenOrder(length: Int) throws -> TokenOrder { try TokenOrder(samples, length: length) }

  /// The kept tokens of x.
  public func keep(_ x: Tensor, _ order: TokenOrder) -> Tensor {
    record(KeepOperation(x: x, order: order, output: output(order.kept, columns: x.columns, of: [x])))
  }

  /// The kept tokens back in their places among `rows`, and `token` in the places of the others.
  public func restore(_ x: Tensor, token: Parameter, _ order: TokenOrder, rows: Rows) -> Tensor {
    record(
      RestoreOperation(
        x: x, token: token, order: order, output: output(rows, columns: x.columns, of: [x], hasParameters: true)))
  }

  /// `masked` where tokens were removed, and `present` where they were kept.
  public func choose(masked: Tensor, present: Tensor, _ order: TokenOrder) -> Tensor {
    record(
      ChooseOperation(
        masked: masked, present: present, order: order,
        output: output(masked.rows, columns: masked.columns, of: [masked, present])))
  }
}

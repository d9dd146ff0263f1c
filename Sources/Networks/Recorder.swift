import Kernels

/// Notes the operations of a network's forward pass, from which a program for it, and for the way back, is made.
///
/// A network calls one method per operation, each in its own file, and gets tensors that have no memory yet. `plan`
/// then lays out all memory: a value is kept until the last operation that reads it, forward or back, and cheap ones
/// are made again on the way back.
public final class Recorder {
  /// Threads of the programs.
  let threads: Int
  /// Whether there will be a way back.
  let isTraining: Bool
  /// The samples of a batch.
  public let samples: Samples
  private(set) var operations: [(operation: any Operation, scope: Int)] = []
  private(set) var inputs: [Tensor] = []
  /// The operation of which each tensor is the output, by its number.
  private var producers: [Tensor: Int] = [:]
  /// The parts that were read of tensors that were divided.
  private(set) var partsRead: [Tensor: Set<Tensor>] = [:]
  private var scope = 0

  /// Begins a recording.
  ///
  /// - Parameters:
  ///   - samples: the samples of a batch.
  ///   - isTraining: whether gradients are wanted.
  public init(samples: Samples, threads: Int, isTraining: Bool) {
    self.samples = samples
    self.threads = threads
    self.isTraining = isTraining
  }

  /// Begins a part of the network, such as a block: within it no memory is used twice, so that each thread can go
  /// through it with its own samples.
  public func beginScope() { scope += 1 }

  /// One past the last scope.
  var scopes: Int { scope + 1 }

  /// A tensor that is written before each run.
  public func input(_ rows: Rows, columns: Int) -> Tensor {
    let tensor = Tensor(rows, columns: columns, needsGradient: false, isRecomputed: false, scope: scope)
    inputs.append(tensor)
    return tensor
  }

  /// A tensor for an operation's output.
  ///
  /// - Parameters:
  ///   - inputs: what it depends on.
  ///   - hasParameters: whether the operation has parameters.
  ///   - isCheap: make the value again rather than keep it.
  func output(
    _ rows: Rows, columns: Int, of inputs: [Tensor], hasParameters: Bool = false, isCheap: Bool = false
  ) -> Tensor {
    Tensor(
      rows, columns: columns, needsGradient: isTraining && (hasParameters || inputs.contains { $0.needsGradient }),
      isRecomputed: isTraining && isCheap, scope: scope)
  }

  /// A tensor for what an operation notes for its way back.
  func note(_ rows: Rows, columns: Int) -> Tensor {
    Tensor(rows, columns: columns, needsGradient: false, isRecomputed: false, scope: scope)
  }

  /// Appends an operation and gives its output.
  func record(_ operation: some Operation) -> Tensor {
    for input in operation.inputs where input.whole == nil {
      precondition(!input.isDivided, "a tensor that was divided is read in parts only")
      input.isReadWhole = true
    }
    for input in operation.inputs {
      if let whole = input.whole { partsRead[whole, default: []].insert(input) }
    }
    producers[operation.output] = operations.count
    operations.append((operation, scope))
    return operation.output
  }

  /// The operation of which a tensor is the output; nil for inputs and notes.
  func producer(of tensor: Tensor) -> (any Operation)? { producers[tensor].map { operations[$0].operation } }
}

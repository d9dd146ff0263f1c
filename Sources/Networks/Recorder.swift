import Kernels

/// Records the operations of a network's forward pass, from which the programs of both passes are made.
///
/// A network calls one method per operation, each in its own file, and gets tensors that have no memory yet. `plan`
/// then lays out all memory: a value is kept until the last operation that reads it, forward or backward, and cheap ones
/// are recomputed in the backward pass.
public final class Recorder {
  /// Threads of the programs.
  let threads: Int
  /// Of the products of tokens. Those of one row per sample are float32: reading the weights takes most of their time.
  let precision: Precision
  /// Whether there is a backward pass.
  let isTraining: Bool
  /// The samples of a batch.
  public let samples: Samples
  private(set) var operations: [(operation: any Operation, scope: Int)] = []
  private(set) var inputs: [Tensor] = []
  /// The number of the operation that computes each tensor.
  private var producers: [Tensor: Int] = [:]
  /// The parts of divided tensors that were read.
  private(set) var partsRead: [Tensor: Set<Tensor>] = [:]
  private var scope = 0

  /// Starts a recording.
  ///
  /// - Parameters:
  ///   - samples: the samples of a batch.
  ///   - isTraining: whether gradients are needed.
  ///   - precision: of the products of tokens.
  public init(samples: Samples, threads: Int, isTraining: Bool, precision: Precision = .float32) {
    self.samples = samples
    self.precision = precision
    self.threads = threads
    self.isTraining = isTraining
  }

  /// Starts a part of the network, such as a block. Within it no memory is reused, so each thread can compute all of it for
  /// its own samples.
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
  ///   - isCheap: recompute the value rather than keep it.
  func output(
    _ rows: Rows, columns: Int, of inputs: [Tensor], hasParameters: Bool = false, isCheap: Bool = false
  ) -> Tensor {
    Tensor(
      rows, columns: columns, needsGradient: isTraining && (hasParameters || inputs.contains { $0.needsGradient }),
      isRecomputed: isTraining && isCheap, scope: scope)
  }

  /// The precision of products with some rows on the left.
  func precision(of rows: Rows) -> Precision { rows.areTokens ? precision : .float32 }

  /// A tensor for what an operation stores for its backward pass.
  func note(_ rows: Rows, columns: Int) -> Tensor {
    Tensor(rows, columns: columns, needsGradient: false, isRecomputed: false, scope: scope)
  }

  /// Appends an operation, and returns its output.
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

  /// The operation that computes a tensor; nil for inputs and notes.
  func producer(of tensor: Tensor) -> (any Operation)? { producers[tensor].map { operations[$0].operation } }
}

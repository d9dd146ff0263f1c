import Kernels
import Oracles
import Testing

/// A forward/backward pair of Kernels, beside the formula that it computes.
struct OperationCase: Sendable {
  let name: String
  /// The rows and columns of each input.
  let inputs: @Sendable (Sizes) -> [[Int]]
  /// Inputs to which the backward pass gives no gradient.
  var fixed: Set<Int> = []
  /// The output's rows and columns; nil stands for those of the first input.
  var output: (@Sendable (Sizes) -> [Int])?
  /// The rows and columns of what the forward pass leaves for the backward pass.
  var notes: @Sendable (Sizes) -> [Int] = { _ in [1, 1] }
  /// The sizes to try.
  var sizes = Sizes.all
  /// Inputs are drawn from [-bound, bound].
  var bound = 2.0
  /// The largest error of outputs and gradients, relative to the largest value of the same tensor.
  var tolerance = 3e-6
  /// Whether gradients can be added to what is there.
  var accumulates = true
  let forward: @Sendable (Buffers) -> Void
  let backward: @Sendable (Buffers) -> Void
  /// The output in double precision.
  let twin: @Sendable (_ x: [Table], _ sizes: Sizes) -> Table
}

/// The sizes of a case: samples of `length` rows each, and the width of a row.
struct Sizes: Sendable {
  var samples = 3
  var length = 5
  var columns: Int

  var rows: Int { samples * length }

  /// Widths that are and are not multiples of the 16 floats of a vector.
  static let all = [1, 3, 15, 16, 17, 48, 100].map { Sizes(columns: $0) }
}

/// The memory of a case: its inputs `x`, output `y`, `notes`, and the gradients of all but the notes.
struct Buffers {
  let sizes: Sizes
  let x: [Matrix]
  let y: Matrix
  let notes: Matrix
  let dy: Matrix
  let dx: [GradientTarget]

  /// All rows in two unequal parts, as two threads might take them.
  var rowParts: [Range<Int>] { Self.parts(sizes.rows) }
  /// All samples in two unequal parts.
  var sampleParts: [Range<Int>] { Self.parts(sizes.samples) }

  /// Two unequal parts; of rows, not between two samples.
  static func parts(_ count: Int) -> [Range<Int>] {
    let first = min(count / 3 + 1, count)
    return [0..<first, first..<count]
  }
}

/// A case at one of its sizes.
struct OperationRun: Sendable, CustomTestStringConvertible {
  let operation: OperationCase
  let sizes: Sizes

  static let all = OperationCase.all.flatMap { operation in
    operation.sizes.map { OperationRun(operation: operation, sizes: $0) }
  }

  var testDescription: String {
    "\(operation.name), \(sizes.samples) samples of \(sizes.length) rows, \(sizes.columns) columns"
  }
}

import Kernels

/// A step of a recorded network: how it computes its output, and its inputs' gradients from its output's.
///
/// An operation is a thin binding of a forward/backward pair of `Kernels` to tensors. Its work on the rows of a sample may
/// read only the same sample of other tensors. Gradients of parameters need all samples and are deferred: no operation
/// reads them, and tensors keep their values to the end of the scope.
protocol Operation {
  /// Its inputs. `backward` adds to the gradient of each that needs one.
  var inputs: [Tensor] { get }
  /// Its output.
  var output: Tensor { get }
  /// What `forward` stores for `backward` besides the output, such as statistics.
  var notes: [Tensor] { get }
  /// The notes whose gradients `backward` uses for itself.
  var noteGradients: [Tensor] { get }
  /// The tensors whose values `backward` reads, besides the notes.
  var neededByBackward: [Tensor] { get }
  /// The input whose gradient is the output's gradient itself, so `backward` need not compute it.
  var passesGradientTo: Tensor? { get }
  /// The weights of its products with rows of tokens, packed at the start of each scope in both directions.
  var packedWeights: [Parameter] { get }
  /// The inputs that it can read as bfloat16 if its rows' products have that precision.
  var readsRounded: [Tensor] { get }
  /// Whether it can then write its output as bfloat16.
  var writesRounded: Bool { get }
  /// The inputs whose gradients it can then write as bfloat16, if it is alone in that.
  var writesRoundedGradients: [Tensor] { get }
  /// Whether it can then read its output's gradient as bfloat16.
  var readsRoundedGradient: Bool { get }
  /// The floats of scratch memory that each thread needs.
  var scratch: Int { get }
  /// Its name in messages.
  func name(in scope: Int) -> String

  /// Appends the computation of the output.
  func forward(_ program: inout Program, _ memory: Memory)
  /// Appends the computation of the gradients of inputs and parameters.
  func backward(_ program: inout Program, _ memory: Memory)
}

extension Operation {
  var notes: [Tensor] { [] }
  var noteGradients: [Tensor] { [] }
  var neededByBackward: [Tensor] { inputs }
  var passesGradientTo: Tensor? { nil }
  var packedWeights: [Parameter] { [] }
  var readsRounded: [Tensor] { [] }
  var writesRounded: Bool { false }
  var writesRoundedGradients: [Tensor] { [] }
  var readsRoundedGradient: Bool { false }
  var scratch: Int { 0 }

  func name(in scope: Int) -> String { "\(Self.self) in part \(scope) of the network" }
}

extension Rows {
  /// Whether a sample has several: then it is worth packing a weight for them.
  var areTokens: Bool { maximumLength > 1 }
}

import Kernels

/// A step of a recorded network: how it computes its output, and how its inputs' gradients follow from its output's.
///
/// An operation is a thin binding of a forward/backward pair of `Kernels` to tensors. Its work on rows must read, of
/// other tensors with the same samples, nothing but the same samples. Gradients of parameters, which need all samples, are
/// deferred: no operation reads them, and tensors keep their values to the end of the scope.
protocol Operation {
  /// What it reads. Each that needs a gradient gets a part of it from `backward`.
  var inputs: [Tensor] { get }
  /// What it computes.
  var output: Tensor { get }
  /// What `forward` leaves for `backward` beside the output, such as statistics.
  var notes: [Tensor] { get }
  /// The notes to which `backward` gives a gradient, of its own use.
  var noteGradients: [Tensor] { get }
  /// The tensors whose values `backward` reads, beside the notes.
  var neededByBackward: [Tensor] { get }
  /// The input whose gradient is the output's gradient itself, for which `backward` need do nothing.
  var passesGradientTo: Tensor? { get }
  /// The weights of its products with rows of tokens, which are packed at the beginning of each scope, both ways.
  var packedWeights: [Parameter] { get }
  /// The floats of scratch memory that each thread needs.
  var scratch: Int { get }
  /// What messages call it.
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
  var scratch: Int { 0 }

  func name(in scope: Int) -> String { "\(Self.self) in part \(scope) of the network" }
}

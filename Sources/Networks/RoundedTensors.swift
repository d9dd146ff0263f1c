import Kernels

extension Recorder {
  /// Has the values of tokens and their gradients stored in the products' precision where the operations that write and
  /// read them can do it.
  ///
  /// - Parameter output: the network's output, which the loss reads and whose gradient it writes.
  func roundTensors(output: Tensor) {
    guard precision == .bfloat16 else { return }
    var (values, gradients): (Set<Tensor>, Set<Tensor>) = ([output.root], [output.root])
    var uses: [Tensor: Int] = [:]
    for (operation, _) in operations {
      let isRounded = precision(of: operation.output.rows) == .bfloat16
      let (reads, writes) = (operation.readsRounded, operation.writesRoundedGradients)
      for input in operation.inputs {
        uses[input, default: 0] += 1
        // A part begins with a whole pair of numbers.
        let canRound = isRounded && input.firstColumn % 2 == 0
        if !canRound || !reads.contains(input) { values.insert(input.root) }
        // What is rounded is not added to.
        if !canRound || !writes.contains(input) || uses[input] != 1 { gradients.insert(input.root) }
      }
    }
    for (operation, _) in operations {
      let (tensor, precision) = (operation.output, precision(of: operation.output.rows))
      if operation.writesRounded, !values.contains(tensor) { tensor.precision = precision }
      if operation.readsRoundedGradient, !gradients.contains(tensor) { tensor.gradientPrecision = precision }
    }
  }
}

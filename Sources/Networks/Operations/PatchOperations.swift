import Kernels

/// Patches of images, each a row.
struct PatchifyOperation: Operation {
  let images: Tensor
  let grid: PatchGrid
  let order: PatchOrder
  let output: Tensor

  var inputs: [Tensor] { [images] }
  var neededByBackward: [Tensor] { [] }

  func forward(_ program: inout Program, _ memory: Memory) {
    let (images, patches, grid, order) = (memory[images], memory[output], grid, order)
    program.samples(of: output.rows) { patchify(images, into: patches, grid, order, samples: $0) }
  }

  func backward(_ program: inout Program, _ memory: Memory) {
    precondition(!images.needsGradient, "images are inputs")
  }
}

/// Images of patches.
struct UnpatchifyOperation: Operation {
  let patches: Tensor
  let grid: PatchGrid
  let order: PatchOrder
  let output: Tensor

  var inputs: [Tensor] { [patches] }
  var neededByBackward: [Tensor] { [] }

  func forward(_ program: inout Program, _ memory: Memory) {
    let (patches, images, grid, order) = (memory[patches], memory[output], grid, order)
    program.samples(of: output.rows) { unpatchify(patches, into: images, grid, order, samples: $0) }
  }

  func backward(_ program: inout Program, _ memory: Memory) {
    guard let target = memory.gradient(of: patches) else { return }
    precondition(!target.accumulates, "patches have one use")
    let (dImages, grid, order) = (memory.gradient(ofOutput: output), grid, order)
    program.samples(of: output.rows) { patchify(dImages, into: target.matrix, grid, order, samples: $0) }
  }
}

extension Recorder {
  /// Patches of images, one row for each.
  public func patchify(_ images: Tensor, _ grid: PatchGrid, _ order: PatchOrder) -> Tensor {
    record(
      PatchifyOperation(
        images: images, grid: grid, order: order,
        output: output(Rows(samples, length: grid.count), columns: grid.patchSize, of: [images])))
  }

  /// Images of patches, one row for each image.
  public func unpatchify(_ patches: Tensor, _ grid: PatchGrid, _ order: PatchOrder) -> Tensor {
    record(
      UnpatchifyOperation(
        patches: patches, grid: grid, order: order,
        output: output(Rows(samples, length: 1), columns: grid.imageSize, of: [patches])))
  }
}

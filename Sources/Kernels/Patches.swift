/// Square images of `channels` planes, divided into square patches.
public struct PatchGrid: Sendable {
  /// The planes of an image.
  public let channels: Int
  /// The pixels along an image's side.
  public let size: Int
  /// The pixels along a patch's side; it divides `size`.
  public let patch: Int

  /// Describes a grid.
  public init(channels: Int, size: Int, patch: Int) {
    self.channels = channels
    self.size = size
    self.patch = patch
  }

  /// The patches along an image's side.
  public var side: Int { size / patch }
  /// The patches of an image.
  public var count: Int { side * side }
  /// The floats of an image.
  public var imageSize: Int { channels * size * size }
  /// The floats of a patch.
  public var patchSize: Int { channels * patch * patch }

  /// Copies every run of `patch` pixels between an image and its patches.
  @inline(__always)
  func forEachRun(
    ordered order: PatchOrder, _ body: (_ token: Int, _ pixel: Int, _ place: Int, _ step: Int) -> Void
  ) {
    for channel in 0..<channels {
      for y in 0..<size {
        let (patchRow, rowInPatch) = y.quotientAndRemainder(dividingBy: patch)
        let line = (channel &* size &+ y) &* size
        for x in 0..<side {
          let token = patchRow &* side &+ x
          switch order {
          case .channelsFirst:
            body(token, line &+ x &* patch, (channel &* patch &+ rowInPatch) &* patch, 1)
          case .channelsLast:
            body(token, line &+ x &* patch, rowInPatch &* patch &* channels &+ channel, channels)
          }
        }
      }
    }
  }
}

/// The order of a patch's pixels in its row.
public enum PatchOrder: Sendable {
  /// Channel, row, column: the order of a convolution's weights, and of a network's input.
  case channelsFirst
  /// Row, column, channel: the output order of the official DiT's last layer.
  case channelsLast
}

/// Turns images, rows of (channel, y, x), into rows of patches, for some samples.
public func patchify(
  _ images: Matrix, into patches: Matrix, _ grid: PatchGrid, _ order: PatchOrder, samples: Range<Int>
) {
  for sample in samples {
    let image = images.row(sample)
    grid.forEachRun(ordered: order) { token, pixel, place, step in
      let row = patches.row(sample &* grid.count &+ token)
      for i in 0..<grid.patch { row[place &+ i &* step] = image[pixel &+ i] }
    }
  }
}

/// Turns rows of patches into images, for some samples: the inverse of `patchify`, and its gradient.
public func unpatchify(
  _ patches: Matrix, into images: Matrix, _ grid: PatchGrid, _ order: PatchOrder, samples: Range<Int>
) {
  for sample in samples {
    let image = images.row(sample)
    grid.forEachRun(ordered: order) { token, pixel, place, step in
      let row = patches.row(sample &* grid.count &+ token)
      for i in 0..<grid.patch { image[pixel &+ i] = row[place &+ i &* step] }
    }
  }
}

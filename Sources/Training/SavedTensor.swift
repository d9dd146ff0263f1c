import ArgumentErrors
import Networks

/// A float tensor of every checkpoint: its name in the file, and its place in a trainer's memory.
struct SavedTensor {
  let name: String
  let shape: [Int]
  private let buffer: Trainer.Buffer
  private let range: Range<Int>

  /// The tensors of a network: parameters, their average, AdamW's moments, and fixed tensors.
  static func all(of network: any DiffusionNetwork) -> [SavedTensor] {
    let buffers: [(prefix: String, buffer: Trainer.Buffer)] = [
      ("", .parameters), ("ema.", .average), ("exp_avg.", .firstMoment), ("exp_avg_sq.", .secondMoment),
    ]
    var tensors = buffers.flatMap { prefix, buffer in
      network.parameters.parameters.map {
        SavedTensor(
          name: prefix + $0.name, shape: $0.shape, buffer: buffer, range: $0.offset..<$0.offset + $0.count)
      }
    }
    tensors += network.fixedTensors.tensors.map {
      SavedTensor(name: $0.name, shape: $0.shape, buffer: .fixed, range: $0.offset..<$0.offset + $0.count)
    }
    return tensors
  }

  /// Its memory.
  func floats(of trainer: Trainer) -> UnsafeMutableBufferPointer<Float> {
    UnsafeMutableBufferPointer(rebasing: trainer.buffer(buffer)[range])
  }

  /// - Throws: `ArgumentError`, which names the first number that is not finite, or a mean of squares that is negative.
  func check(in trainer: Trainer) throws {
    let floats = floats(of: trainer)
    let isSquare = buffer == .secondMoment
    let (least, most) = (isSquare ? 0 : -Float.greatestFiniteMagnitude, Float.greatestFiniteMagnitude)
    // Counting, unlike searching, lets the compiler compare several at once.
    var wrong = 0
    for value in floats { wrong &+= value >= least && value <= most ? 0 : 1 }
    guard wrong > 0, let i = floats.firstIndex(where: { !($0 >= least && $0 <= most) }) else { return }
    throw ArgumentError("\(name)[\(i)]", isSquare ? "must be finite and at least 0" : "must be finite", got: floats[i])
  }
}

import Kernels

/// A value that a recorded network computes: a matrix with some rows per sample.
public final class Tensor {
  /// Its rows.
  public let rows: Rows
  /// The numbers of a row.
  public let columns: Int

  /// Whether the loss depends on a parameter through it.
  let needsGradient: Bool
  /// The tensor of which this is a range of columns; nil: none.
  let whole: Tensor?
  let firstColumn: Int
  /// When its operation was recorded.
  let scope: Int
  /// Whether it was divided or read as a whole; its gradient has only one layout.
  var isDivided = false
  var isReadWhole = false
  /// Whether its value is recomputed in the backward pass instead of kept; of the tensor that has memory.
  var isRecomputed: Bool
  /// The precision in which its value is stored. The plan sets it, of the tensor that has memory.
  var precision = Precision.float32
  /// The same for its gradient.
  var gradientPrecision = Precision.float32

  init(_ rows: Rows, columns: Int, needsGradient: Bool, isRecomputed: Bool, scope: Int) {
    self.rows = rows
    self.columns = columns
    self.needsGradient = needsGradient
    self.isRecomputed = isRecomputed
    whole = nil
    firstColumn = 0
    self.scope = scope
  }

  /// Some columns of another tensor.
  init(of whole: Tensor, columns: Range<Int>) {
    rows = whole.rows
    self.columns = columns.count
    needsGradient = whole.needsGradient
    isRecomputed = whole.isRecomputed
    self.whole = whole
    firstColumn = columns.lowerBound
    scope = whole.scope
  }

  /// The tensor that has memory of its own.
  var root: Tensor { whole ?? self }

  /// Equal parts of the columns, as PyTorch's `chunk(parts, dim=-1)`. A tensor is divided only once, and then read in parts.
  public func chunked(_ parts: Int) -> [Tensor] {
    precondition(whole == nil && !isDivided && !isReadWhole, "a tensor is divided once, and not read as a whole")
    precondition(columns % parts == 0, "parts are equal")
    isDivided = true
    let size = columns / parts
    return (0..<parts).map { Tensor(of: self, columns: $0 * size..<($0 + 1) * size) }
  }
}

extension Tensor: Hashable {
  /// Whether they are the same object.
  public static func == (a: Tensor, b: Tensor) -> Bool { a === b }
  /// Hashes the identity.
  public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}

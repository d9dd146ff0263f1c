import Kernels
import Oracles

/// Rows of numbers with other floats between them, as the columns of a larger matrix have.
///
/// A `matrix` does not keep its memory alive: see that this is.
final class StridedMemory {
  let matrix: Matrix
  private let rows: Int
  private let all: UnsafeMutableBufferPointer<Float>
  private static let gap = 5

  /// A NaN that no arithmetic makes.
  private static let untouched = Float(bitPattern: 0x7FC1_2345)

  /// Memory in which all is untouched.
  init(rows: Int, columns: Int, _ precision: Precision = .float32) {
    self.rows = rows
    let stride = precision.floats(columns) + Self.gap
    all = .allocate(capacity: rows * stride + Self.gap)
    all.initialize(repeating: Self.untouched)
    matrix = Matrix(all.baseAddress! + Self.gap, columns: columns, stride: stride, precision)
  }

  convenience init(_ table: Table) {
    self.init(rows: table.rows, columns: table.columns)
    for r in 0..<rows { for c in 0..<table.columns { matrix.row(r)[c] = Float(table[r, c]) } }
  }

  deinit { all.deallocate() }

  var table: Table { Table(rows, matrix.columns) { Double(number($0, $1)) } }

  private func number(_ row: Int, _ column: Int) -> Float {
    guard matrix.precision == .bfloat16 else { return matrix.row(row)[column] }
    let pair = matrix.row(row)[column / 2].bitPattern
    return Float(bitPattern: column % 2 == 0 ? pair << 16 : pair & 0xFFFF_0000)
  }

  /// Whether something was written between the rows.
  var isOverrun: Bool {
    all.indices.contains { i in
      let isInside = i >= Self.gap && (i - Self.gap) % matrix.stride < matrix.precision.floats(matrix.columns)
      return !isInside && all[i].bitPattern != Self.untouched.bitPattern
    }
  }
}

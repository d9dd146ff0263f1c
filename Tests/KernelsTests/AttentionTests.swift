import Oracles
import Testing

@testable import Kernels

@Suite("Attention")
struct AttentionTests {
  /// The backward pass recomputes scores by another product, which may sum in another order.
  @Test("A probability is at most 1, though a large score differs from its log-sum-exp in the last bits")
  func largeScores() {
    let (queries, keys, size) = (5, 7, 16)
    var numbers = Numbers(seed: 3)
    let tables = [(queries, size), (keys, size), (keys, size), (queries, size)].map { Table($0.0, $0.1, of: &numbers) }
    let large = { (table: Table) in table.map { Double(Float($0 * 60_000)) } }
    let memory = [large(tables[0]), large(tables[1]), tables[2], tables[3]].map { StridedMemory($0) }
    let (y, sums) = (StridedMemory(rows: queries, columns: size), StridedMemory(rows: queries, columns: 1))
    let results = [queries, keys, keys].map { StridedMemory(rows: $0, columns: size) }
    let targets = results.map { GradientTarget($0.matrix, accumulates: false) }
    let scratch = UnsafeMutablePointer<Float>.allocate(capacity: AttentionHead.scratch(queries: queries, keys: keys))
    defer { withExtendedLifetime((memory, y, sums)) { scratch.deallocate() } }
    let head = AttentionHead(
      q: memory[0].matrix, k: memory[1].matrix, v: memory[2].matrix, head: 0, size: size, queries: 0..<queries,
      keys: 0..<keys)
    attentionForward(head, into: y.matrix, logSumExp: sums.matrix, scratch: scratch)
    for r in 0..<queries {
      let sum = sums.matrix.row(r)
      #expect(sum[0].magnitude * 0x1p-22 > 88, "the score is too small for this test")
      sum[0] -= sum[0].magnitude * 0x1p-22
    }
    attentionBackward(
      head, y: y.matrix, dy: memory[3].matrix, logSumExp: sums.matrix, dq: targets[0], dk: targets[1], dv: targets[2],
      scratch: scratch)
    for result in results {
      let areFinite = result.table.values.allSatisfy { $0.isFinite }
      #expect(areFinite)
    }
    // dv sums probabilities times dy.
    for c in 0..<size {
      let most = (0..<queries).reduce(0) { $0 + abs(tables[3][$1, c]) } * 1.000_001
      for r in 0..<keys { #expect(abs(results[2].table[r, c]) <= most) }
    }
  }
}

import Kernels

extension Recorder {
  /// Has most sums of tokens with a branch recomputed in the backward pass.
  ///
  /// Only in bfloat16, where they would take a third of what is kept: branches are kept for the gates, and are half as large.
  func recomputeSums() {
    guard isTraining, precision == .bfloat16 else { return }
    /// By a sum's first term, the number of sums that follow.
    var followers: [Tensor: Int] = [:]
    for case (let sum as GatedSumOperation, _) in operations.reversed() where sum.output.rows.areTokens {
      let count = followers[sum.output] ?? 0
      sum.output.isRecomputed = !isKept(followedBy: count)
      followers[sum.x.root] = max(followers[sum.x.root] ?? 0, count + 1)
    }
  }
}

/// Whether a sum is kept: those that 2, 10, 42 … sums follow, each time four times as many.
///
/// To recompute a sum, all others since the last kept one are needed. The backward pass begins with the last two, while most
/// else is still kept; each half of a block that it has passed leaves the memory of about three more.
private func isKept(followedBy count: Int) -> Bool {
  var (place, distance) = (2, 8)
  while place < count {
    place += distance
    distance *= 4
  }
  return place == count
}

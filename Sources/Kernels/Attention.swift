// Scaled dot-product attention of one head over one sample: y = softmax(q·kᵀ/√d)·v. Vaswani et al. 2017, Eq. 1.
//
// The numbers of queries and keys may differ, as in cross-attention. The probabilities are not kept: the backward pass
// recomputes them from q, k and each row's log-sum-exp. q, k, v and y are float32, or bfloat16 if the products' factors are.

/// One head of the tensors of one sample.
public struct AttentionHead {
  let q: Matrix
  let k: Matrix
  let v: Matrix
  let queries: Int
  let keys: Int
  let bias: RelativePositionBias?
  let precision: Precision

  /// Selects the columns of a head and the rows of a sample.
  ///
  /// - Parameters:
  ///   - bias: added to the scores; queries and keys are then the same tokens.
  ///   - precision: of the products' factors.
  public init(
    q: Matrix, k: Matrix, v: Matrix, head: Int, size: Int, queries: Range<Int>, keys: Range<Int>,
    bias: RelativePositionBias? = nil, _ precision: Precision = .float32
  ) {
    let columns = (head &* size)..<((head &+ 1) &* size)
    self.q = q.columns(columns).from(queries.lowerBound)
    self.k = k.columns(columns).from(keys.lowerBound)
    self.v = v.columns(columns).from(keys.lowerBound)
    self.queries = queries.count
    self.keys = keys.count
    self.bias = bias
    self.precision = precision
  }

  var scale: Float { 1 / Float(q.columns).squareRoot() }

  /// Prefetches what the next head reads of a query or key: rows are pages apart, and no longer in the cache.
  @inline(__always)
  fileprivate func prefetchNext(query: Int) { prefetch(q.row(query) + q.width, q.width / lanes) }
  @inline(__always)
  fileprivate func prefetchNext(key: Int) {
    prefetch(k.row(key) + k.width, k.width / lanes)
    prefetch(v.row(key) + v.width, v.width / lanes)
  }

  /// The floats of scratch memory that either pass needs.
  ///
  /// - Parameters:
  ///   - grid: the side of the grid of a relative position bias; 0: no bias.
  ///   - rounded: the columns of a head, if outputs or gradients are bfloat16; 0: they are float32.
  public static func scratch(queries: Int, keys: Int, grid: Int = 0, rounded: Int = 0) -> Int {
    biasOffset(queries: queries, keys: keys)
      + (grid > 0 ? RelativePositionBias.Tables.count(tokens: keys, grid: grid) : 0)
      + (min(queries, mostQueries) + 2 * keys) * rounded
  }

  /// Where the bias's tables are in scratch memory: after two blocks of scores and two numbers per query.
  ///
  /// It grows with the numbers of queries and keys, while a block does not. So room for many is enough for fewer.
  private static func biasOffset(queries: Int, keys: Int) -> Int {
    2 * min(queries * keys, max(blockSize, leastQueries * keys)) + 2 * min(queries, mostQueries)
  }

  fileprivate var biasOffset: Int { Self.biasOffset(queries: queries, keys: keys) }

  /// The sums of what is rounded, after all else in scratch memory: of a block of queries, and twice of all keys.
  fileprivate func sums(
    at scratch: UnsafeMutablePointer<Float>
  ) -> (ofQueries: Matrix, ofKeys: Matrix, ofValues: Matrix) {
    let start = scratch + Self.scratch(queries: queries, keys: keys, grid: bias?.grid ?? 0)
    func sums(_ row: Int) -> Matrix { Matrix(start + row &* q.columns, columns: q.columns) }
    let block = min(queries, mostQueries)
    return (sums(0), sums(block), sums(block &+ keys))
  }
}

/// Queries are processed in blocks whose probabilities stay in the cache: 256 KB of them, unless there are very many
/// keys.
private func queryBlock(keys: Int) -> Int { max(leastQueries, min(mostQueries, blockSize / keys)) }

private let leastQueries = 32
private let mostQueries = 256
/// The floats of a block's probabilities.
private let blockSize = 65536

/// y for the queries of one head.
///
/// - Parameters:
///   - y: the head's columns, from the sample's first row on.
///   - logSumExp: one entry per query, `stride` apart.
///   - scratch: room for `AttentionHead.scratch` floats.
public func attentionForward(
  _ head: AttentionHead, into y: Matrix, logSumExp: Matrix, scratch: UnsafeMutablePointer<Float>
) {
  let block = min(head.queries, queryBlock(keys: head.keys))
  let weights = Matrix(scratch, columns: head.keys)
  let (maxima, reciprocals) = (scratch + block &* head.keys, scratch + block &* head.keys + block)
  let bias = head.bias?.tables(tokens: head.keys, reversed: true, at: scratch + head.biasOffset)
  var first = 0
  while first < head.queries {
    let count = min(block, head.queries &- first)
    MatrixProduct.multiply(
      head.q.from(first), .plain, head.k, .transposed, into: weights, m: count, n: head.keys, k: head.q.columns,
      alpha: head.scale, base: .zero, precision: head.precision)
    bias?.add(to: weights, rows: first..<first &+ count, columns: 0..<head.keys)
    for r in 0..<count { (maxima[r], reciprocals[r]) = exponentiate(weights.row(r), head.keys) }
    forEachVector(count) { i, n in
      let sums = load(reciprocals + i, n)
      store(load(maxima + i, n) + log(sums), maxima + i, n)
      store(splat(1) / sums, reciprocals + i, n)
    }
    for r in 0..<count { logSumExp.row(first &+ r)[0] = maxima[r] }
    let y = y.from(first)
    let sums = y.precision == .float32 ? y : head.sums(at: scratch).ofQueries
    MatrixProduct.multiply(
      weights, .plain, head.v, .plain, into: sums, m: count, n: head.v.columns, k: head.keys, base: .zero,
      precision: head.precision
    ) { rows, columns in
      let (sums, y) = (sums.columns(columns), y.columns(columns))
      for r in rows {
        let (row, reciprocal) = (sums.row(r), splat(reciprocals[r]))
        y.set(r) { i, n in load(row + i, n) * reciprocal }
      }
    }
    first &+= count
  }
}

/// Adds one head's gradients of q, k and v to those that are there.
///
/// - Parameters:
///   - y: what `attentionForward` gave, with its `logSumExp`.
///   - dy, dq, dk, dv: the head's columns, from the sample's first row on; as q, k, v and y in their precisions.
///   - dBias: receives the gradients of the head's bias, if it has one.
///   - scratch: room for `AttentionHead.scratch` floats.
public func attentionBackward(
  _ head: AttentionHead, y: Matrix, dy: Matrix, logSumExp: Matrix, dq: GradientTarget, dk: GradientTarget,
  dv: GradientTarget, dBias: UnsafeMutablePointer<Float>? = nil, scratch: UnsafeMutablePointer<Float>
) {
  // Keys are rows here, so both products that sum over queries read their left factor in place.
  let block = min(head.queries, queryBlock(keys: head.keys))
  let size = head.q.columns
  let ofQueries = (logSumExp: scratch + 2 &* block &* head.keys, mean: scratch + 2 &* block &* head.keys + block)
  let bias = head.bias?.tables(tokens: head.keys, reversed: false, at: scratch + head.biasOffset)
  if let bias = head.bias, let dBias {
    dBias.update(repeating: 0, count: RelativePositionBias.entries(grid: bias.grid))
  }
  let sums = head.sums(at: scratch)
  let dkSums = dk.matrix.precision == .float32 ? dk.matrix : sums.ofKeys
  let dvSums = dv.matrix.precision == .float32 ? dv.matrix : sums.ofValues
  var first = 0
  while first < head.queries {
    let count = min(block, head.queries &- first)
    let probabilities = Matrix(scratch, columns: count)
    let gradients = Matrix(scratch + block &* head.keys, columns: count)
    let (q, dyBlock, yBlock) = (head.q.from(first), dy.from(first), y.from(first))
    MatrixProduct.multiply(
      head.k, .plain, q, .transposed, into: probabilities, m: head.keys, n: count, k: size, alpha: head.scale,
      base: .zero, precision: head.precision)
    bias?.add(to: probabilities, rows: 0..<head.keys, columns: first..<first &+ count)
    MatrixProduct.multiply(
      head.v, .plain, dyBlock, .transposed, into: gradients, m: head.keys, n: count, k: head.v.columns, base: .zero,
      precision: head.precision)
    for r in 0..<count {
      ofQueries.logSumExp[r] = logSumExp.row(first &+ r)[0]
      ofQueries.mean[r] = dot(dyBlock, yBlock, row: r)
      head.prefetchNext(query: first &+ r)
      prefetch(yBlock.row(r) + y.width, y.width / lanes)
    }
    for key in 0..<head.keys {
      softmaxBackward(
        probabilities.row(key), gradients.row(key), logSumExp: ofQueries.logSumExp, mean: ofQueries.mean,
        scale: head.scale, count)
      head.prefetchNext(key: key)
    }
    if let dBias {
      bias?.addGradient(
        of: gradients, keys: 0..<head.keys, queries: first..<first &+ count, factor: 1 / head.scale, to: dBias)
    }
    MatrixProduct.multiply(
      probabilities, .plain, dyBlock, .plain, into: dvSums, m: head.keys, n: head.v.columns, k: count,
      base: first > 0 ? .present : dv.productBase, precision: head.precision)
    MatrixProduct.multiply(
      gradients, .plain, q, .plain, into: dkSums, m: head.keys, n: size, k: count,
      base: first > 0 ? .present : dk.productBase, precision: head.precision)
    let dqBlock = dq.matrix.from(first)
    let dqSums = dqBlock.precision == .float32 ? dqBlock : sums.ofQueries
    MatrixProduct.multiply(
      gradients, .transposed, head.k, .plain, into: dqSums, m: count, n: size, k: head.keys, base: dq.productBase,
      precision: head.precision)
    if dqBlock.precision == .bfloat16 { dqBlock.set(dqSums, rows: 0..<count, columns: 0..<size) }
    first &+= count
  }
  for (target, sums) in [(dk.matrix, dkSums), (dv.matrix, dvSums)] where target.precision == .bfloat16 {
    target.set(sums, rows: 0..<head.keys, columns: 0..<size)
  }
}

/// Replaces a row of scores by e^(score - largest score); returns the largest score and the sum.
@inline(__always)
private func exponentiate(_ row: UnsafeMutablePointer<Float>, _ count: Int) -> (maximum: Float, sum: Float) {
  var largest = splat(-.infinity)
  forEachVector(count) { i, n in largest = greater(loadPadded(row + i, n), largest) }
  let maximum = largest.horizontalMaximum
  var total = Vector.zero
  forEachVector(count) { i, n in
    let e = masked(exp(load(row + i, n) - splat(maximum)), n)
    total += e
    store(e, row + i, n)
  }
  return (maximum, total.horizontalSum)
}

/// Turns a key's scores and gradients of probabilities, by query, into probabilities and gradients of unscaled scores.
@inline(__always)
private func softmaxBackward(
  _ scores: UnsafeMutablePointer<Float>, _ gradients: UnsafeMutablePointer<Float>, logSumExp: UnsafePointer<Float>,
  mean: UnsafePointer<Float>, scale: Float, _ count: Int
) {
  let scale = splat(scale)
  forEachVector(count) { i, n in
    // At most 0, but for rounding: OpenBLAS sums a transposed product in another order, and large scores then differ by more
    // than their log-sum-exp. The probability would be e to that power.
    let exponent = load(scores + i, n) - load(logSumExp + i, n)
    let p = exp(lesser(splat(0), exponent))
    store(p, scores + i, n)
    store(p * (load(gradients + i, n) - load(mean + i, n)) * scale, gradients + i, n)
  }
}

@inline(__always)
private func dot(_ a: Matrix, _ b: Matrix, row: Int) -> Float {
  var total = Vector.zero
  forEachVector(b.columns) { i, n in total = total.addingProduct(a.numbers(row, i, n), b.numbers(row, i, n)) }
  return total.horizontalSum
}

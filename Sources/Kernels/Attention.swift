// Scaled dot-product attention of one head over one sample: y = softmax(q·kᵀ/√d)·v. Vaswani et al. 2017, Eq. 1.
//
// Queries may be of another number than keys, as in cross-attention. The probabilities are not kept: the backward pass
// makes them again from q, k and each row's log-sum-exp.

/// One head's part of the tensors of one sample.
public struct AttentionHead {
  let q: Matrix
  let k: Matrix
  let v: Matrix
  let queries: Int
  let keys: Int

  /// Takes the columns of a head, and the rows of a sample.
  public init(q: Matrix, k: Matrix, v: Matrix, head: Int, size: Int, queries: Range<Int>, keys: Range<Int>) {
    let columns = (head &* size)..<((head &+ 1) &* size)
    self.q = q.columns(columns).from(queries.lowerBound)
    self.k = k.columns(columns).from(keys.lowerBound)
    self.v = v.columns(columns).from(keys.lowerBound)
    self.queries = queries.count
    self.keys = keys.count
  }

  var scale: Float { 1 / Float(q.columns).squareRoot() }

  /// The floats of scratch memory that a backward pass needs; a forward pass needs half of it.
  public static func scratch(queries: Int, keys: Int) -> Int { 2 * min(queries, queryBlock) * keys }
}

/// Queries are worked on in blocks, whose probabilities stay in the cache.
private let queryBlock = 256

/// y for the queries of one head.
///
/// - Parameters:
///   - y: the head's columns, from the sample's first row on.
///   - logSumExp: one entry per query, `stride` apart.
///   - scratch: room for `AttentionHead.scratch` floats.
public func attentionForward(
  _ head: AttentionHead, into y: Matrix, logSumExp: Matrix, scratch: UnsafeMutablePointer<Float>
) {
  let probabilities = Matrix(scratch, columns: head.keys)
  var first = 0
  while first < head.queries {
    let count = min(queryBlock, head.queries &- first)
    MatrixProduct.multiply(
      head.q.from(first), .plain, head.k, .transposed, into: probabilities, m: count, n: head.keys, k: head.q.columns,
      alpha: head.scale, base: .zero)
    for r in 0..<count { logSumExp.row(first &+ r)[0] = softmax(probabilities.row(r), head.keys) }
    MatrixProduct.multiply(
      probabilities, .plain, head.v, .plain, into: y.from(first), m: count, n: head.v.columns, k: head.keys, base: .zero
    )
    first &+= count
  }
}

/// Adds one head's gradients of q, k and v to what is there.
///
/// - Parameters:
///   - y: what `attentionForward` gave, with its `logSumExp`.
///   - dq, dk, dv: the head's columns, from the sample's first row on.
///   - scratch: room for `AttentionHead.scratch` floats.
public func attentionBackward(
  _ head: AttentionHead, y: Matrix, dy: Matrix, logSumExp: Matrix, dq: GradientTarget, dk: GradientTarget,
  dv: GradientTarget, scratch: UnsafeMutablePointer<Float>
) {
  let probabilities = Matrix(scratch, columns: head.keys)
  let gradients = Matrix(scratch + min(queryBlock, head.queries) * head.keys, columns: head.keys)
  var first = 0
  while first < head.queries {
    let count = min(queryBlock, head.queries &- first)
    let (q, dyBlock, yBlock) = (head.q.from(first), dy.from(first), y.from(first))
    MatrixProduct.multiply(
      q, .plain, head.k, .transposed, into: probabilities, m: count, n: head.keys, k: q.columns, alpha: head.scale,
      base: .zero)
    MatrixProduct.multiply(
      dyBlock, .plain, head.v, .transposed, into: gradients, m: count, n: head.keys, k: head.v.columns, base: .zero)
    for r in 0..<count {
      let mean = dot(dyBlock.row(r), yBlock.row(r), head.v.columns)
      softmaxBackward(
        probabilities.row(r), gradients.row(r), logSumExp: logSumExp.row(first &+ r)[0], mean: mean, scale: head.scale,
        head.keys)
    }
    MatrixProduct.multiply(
      probabilities, .transposed, dyBlock, .plain, into: dv.matrix, m: head.keys, n: head.v.columns, k: count,
      base: first > 0 ? .present : dv.productBase)
    MatrixProduct.multiply(
      gradients, .plain, head.k, .plain, into: dq.matrix.from(first), m: count, n: q.columns, k: head.keys,
      base: dq.productBase)
    MatrixProduct.multiply(
      gradients, .transposed, q, .plain, into: dk.matrix, m: head.keys, n: q.columns, k: count,
      base: first > 0 ? .present : dk.productBase)
    first &+= count
  }
}

/// Makes probabilities of a row of scores; returns ln Σ e^score.
@inline(__always)
private func softmax(_ row: UnsafeMutablePointer<Float>, _ count: Int) -> Float {
  var largest = splat(-.infinity)
  forEachVector(count) { i, n in
    let scores = n == lanes ? load(row + i, n) : padded(row + i, n)
    largest = largest.replacing(with: scores, where: scores .> largest)
  }
  let maximum = largest.max()
  var total = Vector.zero
  forEachVector(count) { i, n in
    let e = masked(exp(load(row + i, n) - splat(maximum)), n)
    total += e
    store(e, row + i, n)
  }
  let sum = total.sum()
  let reciprocal = splat(1 / sum)
  forEachVector(count) { i, n in store(load(row + i, n) * reciprocal, row + i, n) }
  return maximum + log(splat(sum))[0]
}

/// A partial vector with -∞ where there is nothing.
@inline(__always)
private func padded(_ pointer: UnsafePointer<Float>, _ count: Int) -> Vector {
  var vector = splat(-.infinity)
  for i in 0..<count { vector[i] = pointer[i] }
  return vector
}

/// From a row of scores and of gradients of probabilities: probabilities, and gradients of the unscaled scores.
@inline(__always)
private func softmaxBackward(
  _ scores: UnsafeMutablePointer<Float>, _ gradients: UnsafeMutablePointer<Float>, logSumExp: Float, mean: Float,
  scale: Float, _ count: Int
) {
  let (logSumExp, mean, scale) = (splat(logSumExp), splat(mean), splat(scale))
  forEachVector(count) { i, n in
    let p = exp(load(scores + i, n) - logSumExp)
    store(p, scores + i, n)
    store(p * (load(gradients + i, n) - mean) * scale, gradients + i, n)
  }
}

@inline(__always)
private func dot(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ count: Int) -> Float {
  var total = Vector.zero
  forEachVector(count) { i, n in total = total.addingProduct(load(a + i, n), load(b + i, n)) }
  return total.sum()
}

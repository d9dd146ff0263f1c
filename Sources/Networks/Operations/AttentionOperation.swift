import Kernels

/// Scaled dot-product attention with several heads.
struct AttentionOperation: Operation {
  let q: Tensor
  let k: Tensor
  let v: Tensor
  let heads: Int
  let logSumExp: Tensor
  let output: Tensor

  var inputs: [Tensor] { [q, k, v] }
  var notes: [Tensor] { [logSumExp] }
  var neededByBackward: [Tensor] { [q, k, v, output] }
  var scratch: Int { AttentionHead.scratch(queries: q.rows.maximumLength, keys: k.rows.maximumLength) }

  func forward(_ program: inout Program, _ memory: Memory) {
    let (y, logSumExp, size) = (memory[output], memory[logSumExp], q.columns / heads)
    let (head, queries) = (heads(memory), q.rows)
    program.samples(of: queries, lanes: heads) { samples, lane, thread in
      let columns = lane * size..<(lane + 1) * size
      for sample in samples {
        let first = sample * queries.length
        attentionForward(
          head(sample, lane), into: y.columns(columns).from(first),
          logSumExp: logSumExp.columns(lane..<lane + 1).from(first),
          scratch: memory.scratch(thread))
      }
    }
  }

  func backward(_ program: inout Program, _ memory: Memory) {
    // In the order in which the kernel writes them. Self-attention divides one tensor into the three, so that all of
    // them need gradients or none.
    guard let dv = memory.gradient(of: v), let dq = memory.gradient(of: q), let dk = memory.gradient(of: k) else {
      preconditionFailure("queries, keys and values must all depend on parameters")
    }
    let (y, dy, logSumExp) = (memory[output], memory.gradient(ofOutput: output), memory[logSumExp])
    let (head, queries, keys, size) = (heads(memory), q.rows, k.rows, q.columns / heads)
    program.samples(of: queries, lanes: heads) { samples, lane, thread in
      let columns = lane * size..<(lane + 1) * size
      for sample in samples {
        let (first, firstKey) = (sample * queries.length, sample * keys.length)
        attentionBackward(
          head(sample, lane), y: y.columns(columns).from(first), dy: dy.columns(columns).from(first),
          logSumExp: logSumExp.columns(lane..<lane + 1).from(first), dq: dq.columns(columns).from(first),
          dk: dk.columns(columns).from(firstKey), dv: dv.columns(columns).from(firstKey),
          scratch: memory.scratch(thread))
      }
    }
  }

  private func heads(_ memory: Memory) -> (_ sample: Int, _ head: Int) -> AttentionHead {
    let (queries, keys, size) = (q.rows, k.rows, q.columns / heads)
    let (q, k, v) = (memory[q], memory[k], memory[v])
    return { sample, head in
      AttentionHead(
        q: q, k: k, v: v, head: head, size: size,
        queries: sample * queries.length..<(sample + 1) * queries.length,
        keys: sample * keys.length..<(sample + 1) * keys.length)
    }
  }
}

extension Recorder {
  /// Attention of each query to the keys of its sample, head by head; q, k and v have equal columns.
  public func attention(_ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int) -> Tensor {
    // Blocks of queries are finished one by one, while every block adds to the keys.
    precondition(q != k && q != v, "queries are a tensor of their own, or a part of their own")
    return record(
      AttentionOperation(
        q: q, k: k, v: v, heads: heads, logSumExp: note(q.rows, columns: heads),
        output: output(q.rows, columns: v.columns, of: [q, k, v])))
  }
}

// Removes tokens for a masked network, and puts them back. He et al., "Masked Autoencoders", 2022; MDT, Gao et al. 2023.
//
// Each sample has a permutation of its tokens, of which the first `kept` are kept, in that order.

/// y = the kept tokens, for some samples of `length` tokens.
public func keepForward(
  _ x: Matrix, order: UnsafePointer<Int32>, into y: Matrix, length: Int, kept: Int, samples: Range<Int>
) {
  for sample in samples {
    let tokens = order + sample &* length
    for i in 0..<kept {
      y.row(sample &* kept &+ i).update(from: x.row(sample &* length &+ Int(tokens[i])), count: x.columns)
    }
  }
}

/// dx (+)= dy for kept tokens, and 0 for the others.
public func keepBackward(
  order: UnsafePointer<Int32>, dy: Matrix, dx: GradientTarget, length: Int, kept: Int, samples: Range<Int>
) {
  for sample in samples {
    let tokens = order + sample &* length
    for i in 0..<length {
      let result = dx.startedRow(sample &* length &+ Int(tokens[i]))
      guard i < kept else { continue }
      let row = dy.row(sample &* kept &+ i)
      forEachVector(dy.columns) { c, n in store(load(row + c, n), result + c, n, adding: true) }
    }
  }
}

/// y = the kept tokens back in their places, and `token` in the places of the others.
public func restoreForward(
  _ x: Matrix, token: UnsafePointer<Float>, order: UnsafePointer<Int32>, into y: Matrix, length: Int, kept: Int,
  samples: Range<Int>
) {
  for sample in samples {
    let tokens = order + sample &* length
    for i in 0..<length {
      y.row(sample &* length &+ Int(tokens[i]))
        .update(from: i < kept ? UnsafePointer(x.row(sample &* kept &+ i)) : token, count: x.columns)
    }
  }
}

/// dx (+)= dy of the kept tokens.
public func restoreBackward(
  order: UnsafePointer<Int32>, dy: Matrix, dx: GradientTarget, length: Int, kept: Int, samples: Range<Int>
) {
  for sample in samples {
    let tokens = order + sample &* length
    for i in 0..<kept {
      let (row, result) = (
        dy.row(sample &* length &+ Int(tokens[i])), dx.matrix.row(sample &* kept &+ i)
      )
      forEachVector(dy.columns) { c, n in store(load(row + c, n), result + c, n, adding: dx.accumulates) }
    }
  }
}

/// dToken (+)= Σ dy of the removed tokens, over all samples.
public func restoreTokenBackward(
  order: UnsafePointer<Int32>, dy: Matrix, dToken: GradientTarget, length: Int, kept: Int, samples: Int
) {
  let result = dToken.startedRow(0)
  for sample in 0..<samples {
    let tokens = order + sample &* length
    for i in kept..<max(kept, length) {
      let row = dy.row(sample &* length &+ Int(tokens[i]))
      forEachVector(dy.columns) { c, n in store(load(row + c, n), result + c, n, adding: true) }
    }
  }
}

/// y = `masked` where tokens were removed, `present` where they were kept.
public func chooseForward(
  masked: Matrix, present: Matrix, order: UnsafePointer<Int32>, into y: Matrix, length: Int, kept: Int,
  samples: Range<Int>
) {
  for sample in samples {
    let tokens = order + sample &* length
    for i in 0..<length {
      let row = sample &* length &+ Int(tokens[i])
      y.row(row).update(from: (i < kept ? present : masked).row(row), count: y.columns)
    }
  }
}

/// dMasked (+)= dy where tokens were removed, and dPresent (+)= dy where they were kept.
public func chooseBackward(
  order: UnsafePointer<Int32>, dy: Matrix, dMasked: GradientTarget?, dPresent: GradientTarget?, length: Int, kept: Int,
  samples: Range<Int>
) {
  for sample in samples {
    let tokens = order + sample &* length
    for i in 0..<length {
      let row = sample &* length &+ Int(tokens[i])
      let (taken, left) = i < kept ? (dPresent, dMasked) : (dMasked, dPresent)
      if let left, !left.accumulates { left.matrix.row(row).update(repeating: 0, count: dy.columns) }
      guard let taken else { continue }
      let (from, to) = (dy.row(row), taken.matrix.row(row))
      forEachVector(dy.columns) { c, n in store(load(from + c, n), to + c, n, adding: taken.accumulates) }
    }
  }
}

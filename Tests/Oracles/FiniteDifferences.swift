/// The gradient of Σ weights·f(x) with regard to one of the inputs, by central differences in double precision.
///
/// The error is about 1e-10 for functions and derivatives of order one.
public func centralDifferences(
  of f: (_ x: [Table]) -> Table, at x: [Table], input: Int, weights: Table
) -> Table {
  var x = x
  let step = 0x1p-17
  return Table(x[input].rows, x[input].columns) { r, c in
    let value = x[input][r, c]
    x[input][r, c] = value + step
    let above = f(x)
    x[input][r, c] = value - step
    let below = f(x)
    x[input][r, c] = value
    // Differences first: most of the sum does not change.
    return zip(weights.values, zip(above.values, below.values)).reduce(0) { $0 + $1.0 * ($1.1.0 - $1.1.1) } / (2 * step)
  }
}

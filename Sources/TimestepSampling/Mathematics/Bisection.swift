/// The point of [low, high] at which an increasing function passes `target`, to the last bit.
func bisect(_ low: Double, _ high: Double, for target: Double, _ function: (Double) -> Double) -> Double {
  var (low, high) = (low, high)
  while true {
    let middle = low + (high - low) / 2
    guard middle > low, middle < high else { return high }
    if function(middle) < target { low = middle } else { high = middle }
  }
}

import NoiseSchedules

/// The quantiles of a density that is moved by a few distances, each asked for itself.
struct MovedQuantiles: SigmaSource {
  private let own: SigmaQuantiles
  /// The density moved by each of the distances.
  private var moved: [any NoiseLevels] = []
  /// Which of them an entry has; nil: it is not moved.
  private var choices: [Int?] = []

  /// Makes the densities for all entries.
  init(own: SigmaQuantiles, moves: EntryShifts, count: Int, in process: ContinuousProcess) throws {
    self.own = own
    choices.reserveCapacity(count)
    var places: [Double: Int?] = [0: nil]
    for entry in 0..<count {
      let distance = moves.distance(entry)
      if let known = places[distance] {
        choices.append(known)
        continue
      }
      places[distance] = moved.count
      choices.append(moved.count)
      moved.append(try own.tables.levels.moved(by: distance, at: own.step, in: process, moves.name(entry)))
    }
  }

  var tables: LevelCourse.Tables { own.tables }

  func store(
    _ fractions: UnsafeBufferPointer<UInt64>, from first: Int, into sigma: UnsafeMutableBufferPointer<Double>,
    scratch: UnsafeMutablePointer<UInt64>
  ) {
    // An entry that is not moved is drawn as ever, to the last bit.
    own.store(fractions, from: first, into: sigma, scratch: scratch)
    for i in 0..<fractions.count {
      guard let choice = choices[first &+ i] else { continue }
      sigma[i] = NoiseLevel(moved[choice].logSigma(Probability(fraction: fractions[i]), at: own.step)).sigma
    }
  }
}

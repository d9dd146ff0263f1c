/// A number of samples, which may change between two runs of a program.
public final class Samples: @unchecked Sendable {
  /// The most there can be; memory is laid out for so many.
  public let maximum: Int
  /// How many there are in the next run, in [0, maximum].
  public var count: Int

  /// The most, all of them in the next run.
  public init(maximum: Int) {
    self.maximum = maximum
    count = maximum
  }
}

/// The rows of tensors that have as many rows for each sample as the others, which may change between two runs.
public final class Rows: @unchecked Sendable {
  /// The samples.
  public let samples: Samples
  /// The most rows of a sample.
  public let maximumLength: Int
  /// The rows of each sample in the next run, in [1, maximumLength].
  public var length: Int

  /// Describes rows, of the greatest length in the next run.
  public init(_ samples: Samples, length: Int) {
    self.samples = samples
    maximumLength = length
    self.length = length
  }

  /// How many rows there are in the next run.
  public var count: Int { samples.count &* length }
  /// The most rows there can be.
  public var maximum: Int { samples.maximum * maximumLength }

  /// The rows of some samples.
  func ofSamples(_ samples: Range<Int>) -> Range<Int> {
    samples.lowerBound &* length..<samples.upperBound &* length
  }
}

/// A part of a program that the threads share: a number of tasks that may run at once, in any order.
struct Phase {
  enum Work {
    /// Rows that may be divided anywhere, or between samples only, each with a number of lanes (as heads).
    case rows(Rows, wholeSamples: Bool, lanes: Int)
    /// A fixed number of tasks.
    case tasks(Int)
  }

  let work: Work
  /// How many tasks there are; 0 for rows.
  var tasks: Int {
    if case .tasks(let count) = work { return count }
    return 0
  }

  /// The range is one of rows or a single task.
  let run: (_ range: Range<Int>, _ lane: Int, _ thread: Int) -> Void
}

/// What the threads do in one run: phases, one after the other. Made once, then run any number of times.
///
/// Phases over rows that read only what earlier ones wrote for the same sample stand in one group. With enough samples
/// a thread then takes some of them through the whole group, without waiting for others and with the cache still warm.
public struct Program {
  struct Group {
    var phases: [Phase] = []
    /// Whether the phases are tasks that may all run at once.
    var isUnordered = false
  }

  private(set) var groups: [Group] = [Group()]
  private var deferred: [Phase] = []

  /// The number of threads that will run it.
  public let threads: Int

  /// An empty program.
  public init(threads: Int) { self.threads = threads }

  /// Appends work on rows, in which each task may use a range of them.
  public mutating func rows(_ rows: Rows, _ run: @escaping (_ rows: Range<Int>) -> Void) {
    self.rows(rows) { range, _ in run(range) }
  }

  /// The same; `thread` tells scratch memory apart.
  public mutating func rows(_ rows: Rows, _ run: @escaping (_ rows: Range<Int>, _ thread: Int) -> Void) {
    append(Phase(work: .rows(rows, wholeSamples: false, lanes: 1)) { range, _, thread in run(range, thread) })
  }

  /// Appends work on rows that belong to whole samples, in which each task uses a range of samples.
  public mutating func samples(of rows: Rows, _ run: @escaping (_ samples: Range<Int>) -> Void) {
    append(
      Phase(work: .rows(rows, wholeSamples: true, lanes: 1)) { range, _, _ in
        let length = rows.length
        run(range.lowerBound / length..<range.upperBound / length)
      })
  }

  /// The same for each of a number of lanes, such as attention heads; `thread` tells scratch memory apart.
  public mutating func samples(
    of rows: Rows, lanes: Int, _ run: @escaping (_ samples: Range<Int>, _ lane: Int, _ thread: Int) -> Void
  ) {
    append(
      Phase(work: .rows(rows, wholeSamples: true, lanes: lanes)) { range, lane, thread in
        let length = rows.length
        run(range.lowerBound / length..<range.upperBound / length, lane, thread)
      })
  }

  /// Appends tasks that read what all samples wrote.
  public mutating func tasks(_ count: Int, _ run: @escaping (_ task: Int) -> Void) {
    cut()
    append(Phase(work: .tasks(count)) { range, _, _ in run(range.lowerBound) })
    cut()
  }

  /// Notes tasks of which nobody reads the results before `runDeferred`, and which read nothing of each other's.
  public mutating func deferTasks(_ count: Int, _ run: @escaping (_ task: Int) -> Void) {
    deferred.append(Phase(work: .tasks(count)) { range, _, _ in run(range.lowerBound) })
  }

  /// Appends the tasks that were deferred, all of them at once: threads then wait for each other once instead of after
  /// each.
  public mutating func runDeferred() {
    cut()
    guard !deferred.isEmpty else { return }
    groups[groups.count - 1] = Group(phases: deferred, isUnordered: true)
    deferred = []
    cut()
  }

  /// Ends the group: what comes next waits until all threads have come so far.
  public mutating func cut() {
    if groups.last?.phases.isEmpty == false { groups.append(Group()) }
  }

  private mutating func append(_ phase: Phase) { groups[groups.count - 1].phases.append(phase) }
}

/// Divides `count` items, in units, into `parts` ranges of nearly the same length, some of which may be empty.
@inline(__always)
public func part(_ index: Int, of parts: Int, count: Int, unit: Int = 1) -> Range<Int> {
  let units = (count &+ unit &- 1) / unit
  let lower = min(units &* index / parts &* unit, count)
  let upper = min(units &* (index &+ 1) / parts &* unit, count)
  return lower..<upper
}

/// A number of samples, which may change between runs of a program.
public final class Samples: @unchecked Sendable {
  /// The maximum, for which memory is laid out.
  public let maximum: Int
  /// The number in the next run, in [0, maximum].
  public var count: Int

  /// Starts with the maximum.
  public init(maximum: Int) {
    self.maximum = maximum
    count = maximum
  }
}

/// The rows of tensors with the same number of rows per sample, which may change between runs.
public final class Rows: @unchecked Sendable {
  /// The samples.
  public let samples: Samples
  /// The maximum number of rows per sample.
  public let maximumLength: Int
  /// The rows per sample in the next run, in [1, maximumLength].
  public var length: Int

  /// Describes rows. The next run has the maximum length.
  public init(_ samples: Samples, length: Int) {
    self.samples = samples
    maximumLength = length
    self.length = length
  }

  /// The number of rows in the next run.
  public var count: Int { samples.count &* length }
  /// The maximum number of rows.
  public var maximum: Int { samples.maximum * maximumLength }

  /// The rows of some samples.
  func ofSamples(_ samples: Range<Int>) -> Range<Int> {
    samples.lowerBound &* length..<samples.upperBound &* length
  }
}

/// A part of a program that the threads share: tasks that may run at once, in any order.
struct Phase {
  enum Work {
    /// Rows that may be divided anywhere, or between samples only, each with a number of lanes (as heads).
    case rows(Rows, wholeSamples: Bool, lanes: Int)
    /// A fixed number of tasks.
    case tasks(Int)
  }

  let work: Work
  /// The number of tasks; 0 for rows.
  var tasks: Int {
    if case .tasks(let count) = work { return count }
    return 0
  }

  /// The range is one of rows or a single task.
  let run: (_ range: Range<Int>, _ lane: Int, _ thread: Int) -> Void
}

/// The work of one run: phases, one after the other. A program is made once, then run any number of times.
///
/// Phases over rows that read only what earlier ones wrote for the same sample form a group. With enough samples, a thread
/// takes some of them through the whole group, without waiting for others and with a warm cache.
public struct Program {
  struct Group {
    var phases: [Phase] = []
    /// Whether the phases are tasks that may all run at once.
    var isUnordered = false
  }

  private(set) var groups: [Group] = [Group()]
  private var deferred: [Phase] = []

  /// The number of threads that run it.
  public let threads: Int

  /// An empty program.
  public init(threads: Int) { self.threads = threads }

  /// Appends work on rows, of which each task takes any range.
  public mutating func rows(_ rows: Rows, _ run: @escaping (_ rows: Range<Int>) -> Void) {
    self.rows(rows) { range, _ in run(range) }
  }

  /// The same; `thread` selects the scratch memory.
  public mutating func rows(_ rows: Rows, _ run: @escaping (_ rows: Range<Int>, _ thread: Int) -> Void) {
    append(Phase(work: .rows(rows, wholeSamples: false, lanes: 1)) { range, _, thread in run(range, thread) })
  }

  /// Appends work on the rows of whole samples, of which each task takes a range.
  public mutating func samples(of rows: Rows, _ run: @escaping (_ samples: Range<Int>) -> Void) {
    append(
      Phase(work: .rows(rows, wholeSamples: true, lanes: 1)) { range, _, _ in
        let length = rows.length
        run(range.lowerBound / length..<range.upperBound / length)
      })
  }

  /// The same for each of several lanes, such as attention heads; `thread` selects the scratch memory.
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

  /// Defers tasks that do not read each other's results, and whose results nobody reads before `runDeferred`.
  public mutating func deferTasks(_ count: Int, _ run: @escaping (_ task: Int) -> Void) {
    deferred.append(Phase(work: .tasks(count)) { range, _, _ in run(range.lowerBound) })
  }

  /// Appends all deferred tasks as one phase, so that threads wait for each other only once.
  public mutating func runDeferred() {
    cut()
    guard !deferred.isEmpty else { return }
    groups[groups.count - 1] = Group(phases: deferred, isUnordered: true)
    deferred = []
    cut()
  }

  /// Ends the group: what follows waits until all threads have reached this point.
  public mutating func cut() {
    if groups.last?.phases.isEmpty == false { groups.append(Group()) }
  }

  private mutating func append(_ phase: Phase) { groups[groups.count - 1].phases.append(phase) }
}

/// Divides `count` items, in units, into `parts` ranges of nearly equal length, some of which may be empty.
@inline(__always)
public func part(_ index: Int, of parts: Int, count: Int, unit: Int = 1) -> Range<Int> {
  let units = (count &+ unit &- 1) / unit
  let lower = min(units &* index / parts &* unit, count)
  let upper = min(units &* (index &+ 1) / parts &* unit, count)
  return lower..<upper
}

/// Divides a range into blocks of `size`, in order; the last one may be smaller.
@inline(__always)
func forEachBlock(of range: Range<Int>, size: Int, _ body: (_ block: Range<Int>) -> Void) {
  var first = range.lowerBound
  while first < range.upperBound {
    let end = min(first &+ size, range.upperBound)
    body(first..<end)
    first = end
  }
}

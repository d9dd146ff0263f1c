import Oracles
import Synchronization
import Testing

@testable import Kernels

/// Counts that threads share.
final class Counts: Sendable {
  private final class Count: Sendable {
    let value = Atomic<Int>(0)
  }

  private let counts: [Count]

  init(_ count: Int) { counts = (0..<count).map { _ in Count() } }

  /// Adds to one, and gives what it was before.
  @discardableResult
  func add(_ index: Int, _ number: Int = 1) -> Int {
    counts[index].value.add(number, ordering: .acquiringAndReleasing).oldValue
  }

  subscript(_ index: Int) -> Int { counts[index].value.load(ordering: .acquiring) }

  /// Whether each is `value`.
  func areAll(_ value: Int) -> Bool { counts.indices.allSatisfy { self[$0] == value } }
}

@Suite("Threads", .serialized)
struct ThreadPoolTests {
  @Test("Parts cover everything once, and begin at whole units", arguments: [1, 2, 3, 16])
  func parts(unit: Int) {
    for count in 0...70 {
      for parts in 1...7 {
        let ranges = (0..<parts).map { part($0, of: parts, count: count, unit: unit) }
        #expect(ranges.flatMap(Array.init) == Array(0..<count))
        #expect(ranges.allSatisfy { $0.lowerBound % unit == 0 || $0.isEmpty })
        let units = ranges.map { ($0.count + unit - 1) / unit }
        #expect(units.max()! - units.min()! <= 1)
      }
    }
  }

  @Test("Every task runs exactly once, and none before the tasks that stand before it", arguments: 1...5)
  func tasks(threads: Int) throws {
    let pool = try ThreadPool(threads: threads)
    for count in [0, 1, 2, 3, 7, 64, 1000] {
      let (first, second, tooSoon) = (Counts(count), Counts(count), Counts(1))
      var program = Program(threads: threads)
      program.tasks(count) { first.add($0) }
      program.tasks(count) { task in
        if (0..<count).contains(where: { first[$0] != second[task] + 1 }) { tooSoon.add(0) }
      }
      program.tasks(count) { second.add($0) }
      for run in 1...3 {
        pool.run(program)
        #expect(first.areAll(run) && second.areAll(run) && tooSoon.areAll(0))
      }
    }
  }

  @Test("Rows, samples and lanes are each done once, for any number of samples and rows", arguments: 1...5, [1, 3])
  func rowsAndSamples(threads: Int, lanes: Int) throws {
    let pool = try ThreadPool(threads: threads)
    let samples = Samples(maximum: 24)
    let (tokens, vectors) = (Rows(samples, length: 7), Rows(samples, length: 1))
    let (rows, whole, heads) = (Counts(tokens.maximum), Counts(24), Counts(24 * lanes))
    let (early, busy, clashes) = (Counts(1), Counts(threads), Counts(1))
    // In one group, whose samples a thread may take through all phases, and each phase in a group of its own.
    let programs = [false, true].map { isCut in
      var program = Program(threads: threads)
      program.rows(tokens) { for r in $0 { rows.add(r) } }
      if isCut { program.cut() }
      program.samples(of: tokens) {
        for sample in $0 {
          let wanted = whole[sample] + 1
          for r in sample * tokens.length..<(sample + 1) * tokens.length where rows[r] != wanted { early.add(0) }
        }
      }
      if isCut { program.cut() }
      program.samples(of: vectors, lanes: lanes) { samples, lane, thread in
        if busy.add(thread) != 0 { clashes.add(0) }
        for sample in samples { heads.add(sample * lanes + lane) }
        busy.add(thread, -1)
      }
      if isCut { program.cut() }
      program.samples(of: tokens) { for sample in $0 { whole.add(sample) } }
      return program
    }
    for count in Array(0...9) + [16, 17, 23, 24] {
      (samples.count, tokens.length) = (count, 1 + count % 7)
      for program in programs {
        let before = (0..<24).map { whole[$0] }
        // The rows of a sample begin elsewhere when its length changes.
        for r in 0..<tokens.maximum { rows.add(r, (r < tokens.count ? before[r / tokens.length] : -1) - rows[r]) }
        pool.run(program)
        for r in 0..<tokens.maximum { #expect(rows[r] == (r < tokens.count ? before[r / tokens.length] + 1 : -1)) }
        for sample in 0..<24 {
          #expect(whole[sample] == before[sample] + (sample < count ? 1 : 0))
          for lane in 0..<lanes { #expect(heads[sample * lanes + lane] == whole[sample]) }
        }
      }
    }
    #expect(early.areAll(0), "a phase ran before the one it depends on was done with that sample")
    #expect(clashes.areAll(0), "two tasks had the same scratch memory at a time")
  }

  @Test("Deferred tasks run once, after what came before `runDeferred` and before what comes after", arguments: 1...3)
  func deferral(threads: Int) throws {
    let pool = try ThreadPool(threads: threads)
    let samples = Samples(maximum: 5)
    let rows = Rows(samples, length: 4)
    let (before, deferred, after) = (Counts(20), Counts(9), Counts(20))
    let early = Counts(2)
    var program = Program(threads: threads)
    program.deferTasks(2) { task in
      if !before.areAll(1) { early.add(0) }
      deferred.add(task)
    }
    program.rows(rows) { for r in $0 { before.add(r) } }
    program.deferTasks(7) { deferred.add(2 + $0) }
    program.runDeferred()
    program.rows(rows) {
      if !deferred.areAll(1) { early.add(1) }
      for r in $0 { after.add(r) }
    }
    // Nothing is left to run.
    program.runDeferred()
    pool.run(program)
    #expect(before.areAll(1) && deferred.areAll(1) && after.areAll(1))
    #expect(early.areAll(0))
  }

  @Test("Results do not depend on which thread comes first", arguments: 2...4)
  func scheduling(threads: Int) throws {
    let pool = try ThreadPool(threads: threads)
    let samples = Samples(maximum: 13)
    let rows = Rows(samples, length: 9)
    var numbers = Numbers(seed: 1)
    let (x, weight) = (StridedMemory(Table(117, 33, of: &numbers)), StridedMemory(Table(20, 33, of: &numbers)))
    let (h, y) = (StridedMemory(rows: 117, columns: 20), StridedMemory(rows: 117, columns: 20))
    let gradient = StridedMemory(rows: 20, columns: 33)
    defer { withExtendedLifetime((x, weight, h)) {} }
    let (input, factor, hidden, output, sum) = (x.matrix, weight.matrix, h.matrix, y.matrix, gradient.matrix)
    var program = Program(threads: threads)
    program.rows(rows) {
      linearForward(input, LinearParameters(weight: factor, bias: nil), into: hidden, rows: $0, outputs: 0..<20)
    }
    program.rows(rows) { geluForward(hidden, into: output, rows: $0) }
    program.tasks(threads) {
      linearWeightBackward(
        input, dy: output, dWeight: GradientTarget(sum, accumulates: false), rows: 117,
        outputs: part($0, of: threads, count: 20, unit: 16), inputs: 0..<33)
    }
    pool.run(program)
    let expected = (y.table, gradient.table)
    for _ in 0..<100 {
      pool.run(program)
      let areSame = y.table == expected.0 && gradient.table == expected.1
      #expect(areSame)
    }
  }

  @Test("A pool runs ten thousand programs in a row", arguments: [2, 3])
  func manyPrograms(threads: Int) throws {
    let pool = try ThreadPool(threads: threads)
    let counts = Counts(4)
    var program = Program(threads: threads)
    program.tasks(4) { counts.add($0) }
    for _ in 0..<10_000 { pool.run(program) }
    #expect(counts.areAll(10_000))
  }

  @Test("Pools come and go, whether they were used or not")
  func manyPools() throws {
    let counts = Counts(3)
    for round in 0..<300 {
      let threads = 1 + round % 5
      let pool = try ThreadPool(threads: threads)
      guard round % 2 == 0 else { continue }
      var program = Program(threads: threads)
      program.tasks(3) { counts.add($0) }
      pool.run(program)
    }
    #expect(counts.areAll(150))
  }

  @Test("Two pools may run at once")
  func twoPools() async throws {
    let counts = Counts(2)
    await withTaskGroup(of: Void.self) { group in
      for index in 0..<2 {
        group.addTask {
          guard let pool = try? ThreadPool(threads: 2) else { return }
          var program = Program(threads: 2)
          program.tasks(5) { _ in counts.add(index) }
          for _ in 0..<200 { pool.run(program) }
        }
      }
    }
    #expect(counts.areAll(1000))
  }
}

import COpenBLAS
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Threads that run programs together with the thread that asks for it.
///
/// Threads wait for each other by spinning for a while, since the pieces of a program take microseconds, and sleep
/// between programs. One program runs at a time. A process made by fork() has none of the threads.
public final class ThreadPool: @unchecked Sendable {
  /// The number of threads, the caller's included.
  public let threads: Int

  private let team: Team
  private var workers: [pthread_t] = []

  /// Starts threads - 1 workers.
  ///
  /// - Parameter threads: at least 1.
  /// - Throws: `ThreadError` if the system starts no more threads; `MemoryError`; `ArgumentError` if the environment
  ///   names an unknown matrix product.
  public init(threads: Int) throws {
    try MatrixProduct.checkChoice()
    self.threads = threads
    team = Team(threads: threads)
    // Signals are for the threads of the program, which may handle them in an interpreter.
    var (all, before) = (sigset_t(), sigset_t())
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    for index in 1..<max(threads, 1) {
      let seat = Unmanaged.passRetained(Seat(team: team, index: index)).toOpaque()
      var worker = pthread_t()
      guard pthread_create(&worker, nil, { work($0) }, seat) == 0 else {
        Unmanaged<Seat>.fromOpaque(seat).release()
        stop()
        // The C library has one code for either reason.
        try Self.checkStack(of: index + 1, threads)
        throw ThreadError(threads: threads, refused: index + 1)
      }
      workers.append(worker)
    }
    do { try takeBuffers() } catch {
      stop()
      throw error
    }
  }

  /// Throws `MemoryError` unless there is memory for a thread's stack.
  private static func checkStack(of thread: Int, _ threads: Int) throws {
    var (attributes, bytes) = (pthread_attr_t(), 0)
    pthread_attr_init(&attributes)
    pthread_attr_getstacksize(&attributes, &bytes)
    pthread_attr_destroy(&attributes)
    let stack = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let stack, stack != MAP_FAILED else {
      throw MemoryError(bytes: bytes, purpose: "the stack of thread \(thread) of \(threads)")
    }
    munmap(stack, bytes)
  }

  /// Has each thread take the memory that products need, while an error can still be told.
  private func takeBuffers() throws {
    let failure = Mutex<MemoryError?>(nil)
    var program = Program(threads: threads)
    let arrived = Atomic<Int>(0)
    program.tasks(threads) { [threads] _ in
      // Each thread takes one task, and all of them have a buffer at the same time.
      func waitForAll() {
        arrived.add(1, ordering: .relaxed)
        while arrived.load(ordering: .relaxed) < threads { sched_yield() }
      }
      do { try MatrixProduct.takeBuffer(waitForAll) } catch {
        failure.withLock { $0 = error as? MemoryError }
        waitForAll()
      }
    }
    run(program)
    if let failure = failure.withLock({ $0 }) { throw failure }
  }

  deinit { stop() }

  /// Gives up the threads without waiting for them, in a process where fork() left them behind.
  public func abandon() { workers.removeAll() }

  private func stop() {
    team.dismiss()
    for worker in workers { pthread_join(worker, nil) }
    workers.removeAll()
  }

  /// Runs a program made for as many threads, and returns when all of it is done.
  public func run(_ program: Program) {
    guard MatrixProduct.backend == .openBLAS else { return execute(program) }
    OpenBLASSettings.withSingleThread { execute(program) }
  }

  private func execute(_ program: Program) {
    if threads > 1 { team.begin(program) }
    team.execute(program, thread: 0)
  }
}

/// A worker's place in its team.
private final class Seat {
  let team: Team
  let index: Int

  init(team: Team, index: Int) {
    self.team = team
    self.index = index
  }
}

/// The main function of a worker.
#if canImport(Darwin)
  private func work(_ seat: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? { serve(seat) }
#else
  private func work(_ seat: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? { seat.flatMap(serve) }
#endif

private func serve(_ seat: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
  let seat = Unmanaged<Seat>.fromOpaque(seat).takeRetainedValue()
  var seen = 0
  while let program = seat.team.nextProgram(after: &seen) { seat.team.execute(program, thread: seat.index) }
  return nil
}

/// What the threads of a pool share.
private final class Team: @unchecked Sendable {
  private let threads: Int
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

  // Written under the mutex before `programs` counts up.
  private var program: Program?
  private let programs = Atomic<Int>(0)
  private let isDismissed = Atomic<Bool>(false)

  private let nextTask = Atomic<Int>(0)
  private let arrived = Atomic<Int>(0)
  private let barriers = Atomic<Int>(0)

  init(threads: Int) {
    self.threads = threads
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(condition, nil)
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  /// Wakes the workers.
  func begin(_ program: Program) {
    pthread_mutex_lock(mutex)
    self.program = program
    programs.add(1, ordering: .releasing)
    pthread_cond_broadcast(condition)
    pthread_mutex_unlock(mutex)
  }

  /// Ends the workers.
  func dismiss() {
    pthread_mutex_lock(mutex)
    isDismissed.store(true, ordering: .releasing)
    pthread_cond_broadcast(condition)
    pthread_mutex_unlock(mutex)
  }

  /// Waits for the next program; nil: there will be none.
  func nextProgram(after seen: inout Int) -> Program? {
    let last = seen
    // A training loop runs the next step soon.
    for _ in 0..<spins {
      if programs.load(ordering: .acquiring) != last || isDismissed.load(ordering: .acquiring) { break }
      speediff_spin_hint()
    }
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    while programs.load(ordering: .acquiring) == last, !isDismissed.load(ordering: .acquiring) {
      pthread_cond_wait(condition, mutex)
    }
    if isDismissed.load(ordering: .acquiring) { return nil }
    seen = programs.load(ordering: .acquiring)
    return program
  }

  /// One thread's part of a program.
  func execute(_ program: Program, thread: Int) {
    for group in program.groups where !group.phases.isEmpty {
      if let division = SampleDivision(of: group, threads: threads) {
        claimTasks(division.chunks) { chunk in
          let samples = division[chunk]
          for phase in group.phases {
            guard case .rows(let rows, _, let lanes) = phase.work else { continue }
            for lane in 0..<lanes { phase.run(rows.ofSamples(samples), lane, thread) }
          }
        }
      } else if group.isUnordered {
        claimTasks(group.phases.reduce(0) { $0 + $1.tasks }) { task in
          var task = task
          for phase in group.phases {
            if task < phase.tasks { return phase.run(task..<task &+ 1, 0, thread) }
            task &-= phase.tasks
          }
        }
      } else {
        for phase in group.phases { execute(phase, thread: thread) }
      }
    }
  }

  private func execute(_ phase: Phase, thread: Int) {
    switch phase.work {
    case .tasks(let count):
      claimTasks(count) { phase.run($0..<$0 &+ 1, 0, thread) }
    case .rows(let rows, let wholeSamples, let lanes):
      claimTasks(threads &* lanes) { task in
        let (index, lane) = task.quotientAndRemainder(dividingBy: lanes)
        let range = part(index, of: threads, count: rows.count, unit: wholeSamples ? rows.length : 1)
        if !range.isEmpty { phase.run(range, lane, thread) }
      }
    }
  }

  /// Takes tasks until there are none, then waits for the other threads.
  @inline(__always)
  private func claimTasks(_ count: Int, _ run: (_ task: Int) -> Void) {
    guard threads > 1 else {
      for task in 0..<count { run(task) }
      return
    }
    while true {
      let task = nextTask.add(1, ordering: .relaxed).oldValue
      if task >= count { break }
      run(task)
    }
    waitForAll()
  }

  private func waitForAll() {
    let barrier = barriers.load(ordering: .relaxed)
    if arrived.add(1, ordering: .acquiringAndReleasing).newValue == threads {
      arrived.store(0, ordering: .relaxed)
      nextTask.store(0, ordering: .relaxed)
      barriers.add(1, ordering: .releasing)
      return
    }
    var waited = 0
    while barriers.load(ordering: .acquiring) == barrier {
      waited += 1
      // With fewer processors than threads, the awaited thread may need this one's processor.
      if waited > spins { sched_yield() } else { speediff_spin_hint() }
    }
  }
}

/// How often a waiting thread polls before it yields its processor: some tens of microseconds.
private let spins = 2000

/// How a group's samples are divided if there are enough to keep all threads busy.
private struct SampleDivision {
  let chunks: Int
  private let count: Int

  init?(of group: Program.Group, threads: Int) {
    guard case .rows(let first, _, _)? = group.phases.first?.work else { return nil }
    let samples = first.samples.count
    guard group.phases.count > 1 || threads == 1, samples % threads == 0 || samples >= 4 &* threads else { return nil }
    var length = 1
    for phase in group.phases {
      guard case .rows(let rows, _, _) = phase.work else { return nil }
      length = max(length, rows.length)
    }
    let size = max(1, min(samples / threads, rowsPerChunk / length))
    count = samples
    // The same number of chunks for each thread.
    chunks = (samples &+ size &* threads &- 1) / (size &* threads) &* threads
  }

  subscript(chunk: Int) -> Range<Int> { part(chunk, of: chunks, count: count) }
}

/// The rows of a chunk: enough for the matrix product's speed, few enough for a core's cache.
private let rowsPerChunk = 256

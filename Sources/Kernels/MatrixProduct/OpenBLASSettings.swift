import COpenBLAS

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// What must hold while the library calls OpenBLAS, and what held before, for others in this process that use it too.
package enum OpenBLASSettings {
  private struct State {
    var users = 0
    var threadsBefore: Int32 = 1
    var isChecked = false
    /// Whether this process was copied in mid-use: its setting is not the one to go back to.
    var isCopy = false
  }

  // Under the mutex.
  nonisolated(unsafe) private static var state = State()

  /// Locks that a process is copied under, so that no child begins with one of a thread that it does not have: not
  /// with `settings`, and not with those that OpenBLAS holds within a product.
  private struct Locks {
    let settings = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    /// Held for reading by every product.
    let products = UnsafeMutablePointer<pthread_rwlock_t>.allocate(capacity: 1)

    init() {
      pthread_mutex_init(settings, nil)
      initializeProducts()
      pthread_atfork(
        {
          pthread_rwlock_wrlock(OpenBLASSettings.locks.products)
          pthread_mutex_lock(OpenBLASSettings.locks.settings)
        },
        {
          pthread_mutex_unlock(OpenBLASSettings.locks.settings)
          pthread_rwlock_unlock(OpenBLASSettings.locks.products)
        },
        {
          if OpenBLASSettings.state.users > 0 { OpenBLASSettings.state.isCopy = true }
          OpenBLASSettings.state.users = 0
          pthread_mutex_unlock(OpenBLASSettings.locks.settings)
          // Its writer was the parent's thread, which this one does not count as.
          OpenBLASSettings.locks.initializeProducts()
        })
    }

    func initializeProducts() {
      #if canImport(Glibc)
        // Products that follow one another would keep a fork waiting.
        var kind = pthread_rwlockattr_t()
        pthread_rwlockattr_init(&kind)
        pthread_rwlockattr_setkind_np(&kind, Int32(PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP))
        pthread_rwlock_init(products, &kind)
      #else
        pthread_rwlock_init(products, nil)
      #endif
    }
  }

  nonisolated(unsafe) private static let locks = Locks()

  private static func withLock(_ body: (inout State) -> Void) {
    pthread_mutex_lock(locks.settings)
    body(&state)
    pthread_mutex_unlock(locks.settings)
  }

  /// Runs a product, during which no thread copies the process.
  @inline(__always)
  static func withoutFork(_ product: () -> Void) {
    pthread_rwlock_rdlock(locks.products)
    product()
    pthread_rwlock_unlock(locks.products)
  }

  /// Runs `body` with OpenBLAS on the threads that call it: its own pool, which spins, would fight with ours.
  package static func withSingleThread<Result>(_ body: () throws -> Result) rethrows -> Result {
    withLock { state in
      if state.users == 0 {
        if !state.isCopy { state.threadsBefore = openblas_get_num_threads() }
        state.isCopy = false
        if !state.isChecked { chooseKernels() }
        state.isChecked = true
        openblas_set_num_threads(1)
      }
      state.users += 1
    }
    defer {
      withLock { state in
        state.users -= 1
        if state.users == 0 { openblas_set_num_threads(state.threadsBefore) }
      }
    }
    return try body()
  }

  /// Has OpenBLAS take a buffer for the calling thread, for which it would otherwise wait without end in the middle of a
  /// step.
  ///
  /// - Parameter whileHeld: runs while the buffer is the thread's own. Threads that wait for each other here have one each;
  ///   one after the other, they would all get the same.
  /// - Throws: `MemoryError` if the system does not give as much; then `whileHeld` has not run.
  static func takeBuffer(_ whileHeld: () -> Void) throws {
    // On x86-64 it is of 128 MB, of which little is written to.
    let bytes = 160 << 20
    var (isThere, buffer) = (false, UnsafeMutableRawPointer?.none)
    // One thread after the other tries and takes, or two would find room for one. And not while they wait for each other:
    // whoever wants to fork would keep the others out.
    withoutFork {
      withLock { _ in
        let trial = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let trial, trial != MAP_FAILED else { return }
        munmap(trial, bytes)
        isThere = true
        buffer = speediff_openblas_take_buffer()
      }
    }
    guard isThere else { throw MemoryError(bytes: bytes, purpose: "OpenBLAS's buffer") }
    whileHeld()
    withoutFork { speediff_openblas_give_buffer_back(buffer) }
  }

  /// The kernels that OpenBLAS uses, such as "SkylakeX".
  package static var kernels: String { openblas_get_corename().map { String(cString: $0) } ?? "unknown" }

  /// Has OpenBLAS choose again where it did not know the processor.
  ///
  /// Releases take kernels of 2004 (Prescott) on processors newer than themselves, which cost a factor of five. Only
  /// they can say which they took, so this comes after loading. The user's OPENBLAS_CORETYPE is respected.
  private static func chooseKernels() {
    let level = speediff_vector_level()
    let isOld = ["Prescott", "Core2", "Nehalem", "Penryn", "Dunnington", "Atom", "Generic"].contains(kernels)
    guard level > 0, isOld, getenv("OPENBLAS_CORETYPE") == nil else { return }
    setenv("OPENBLAS_CORETYPE", level == 2 ? "SkylakeX" : "Haswell", 1)
    _ = speediff_openblas_choose_again()
    unsetenv("OPENBLAS_CORETYPE")
  }
}

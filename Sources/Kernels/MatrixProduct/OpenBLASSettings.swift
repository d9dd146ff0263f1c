import COpenBLAS
import Synchronization

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
  }

  private static let state = Mutex(State())

  /// Runs `body` with OpenBLAS on the threads that call it: its own pool, which spins, would fight with ours.
  package static func withSingleThread<Result>(_ body: () throws -> Result) rethrows -> Result {
    state.withLock { state in
      if state.users == 0 {
        state.threadsBefore = openblas_get_num_threads()
        if !state.isChecked { chooseKernels() }
        state.isChecked = true
        openblas_set_num_threads(1)
      }
      state.users += 1
    }
    defer {
      state.withLock { state in
        state.users -= 1
        if state.users == 0 { openblas_set_num_threads(state.threadsBefore) }
      }
    }
    return try body()
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

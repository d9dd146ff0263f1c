import COpenBLAS
import Kernels
import Testing

// In a process of their own, since all tests share OpenBLAS. Swift 6.1 has no such tests.
#if compiler(>=6.2)
  @Suite("Settings of OpenBLAS")
  struct OpenBLASSettingsTests {
    @Test("OpenBLAS has one thread while the library uses it, and then as many as before")
    func restored() async {
      await #expect(processExitsWith: .success) {
        for threads: Int32 in [2, 1, 3] {
          openblas_set_num_threads(threads)
          OpenBLASSettings.withSingleThread {
            precondition(openblas_get_num_threads() == 1)
            OpenBLASSettings.withSingleThread { precondition(openblas_get_num_threads() == 1) }
            precondition(openblas_get_num_threads() == 1)
          }
          precondition(openblas_get_num_threads() == threads)
          // Two users who come and go in any order.
          let pool = try ThreadPool(threads: 2)
          var program = Program(threads: 2)
          // A pool that multiplies without OpenBLAS leaves it alone.
          let inPool: Int32 = MatrixProduct.backend == .openBLAS ? 1 : threads
          program.tasks(2) { _ in precondition(openblas_get_num_threads() == inPool) }
          await withTaskGroup(of: Void.self) { group in
            for _ in 0..<2 {
              group.addTask {
                for _ in 0..<500 { OpenBLASSettings.withSingleThread { precondition(openblas_get_num_threads() == 1) } }
              }
            }
          }
          pool.run(program)
          precondition(openblas_get_num_threads() == threads)
        }
      }
    }

    @Test("OpenBLAS has its threads again after an error")
    func restoredAfterAnError() async {
      await #expect(processExitsWith: .success) {
        struct Failure: Error {}
        openblas_set_num_threads(2)
        try? OpenBLASSettings.withSingleThread { throw Failure() }
        precondition(openblas_get_num_threads() == 2)
      }
    }
  }
#endif

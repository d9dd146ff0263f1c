import ArgumentErrors
import COpenBLAS

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// How many threads make sense in this process.
package struct ThreadLimits {
  /// The most threads of a pool.
  package static let most = 1024

  /// The processors that the affinity mask allows.
  package let processors: Int
  /// The processor time that control groups allow, in whole processors; nil: any.
  package let quota: Int?
  /// What OMP_NUM_THREADS asks for; nil where it is not set.
  package let requested: Int?

  /// Looks at the process and its environment.
  ///
  /// - Throws: `ArgumentError` if OMP_NUM_THREADS is no number of threads.
  package init() throws {
    let allowed = Int(speediff_available_processors())
    try self.init(
      processors: allowed > 0 ? allowed : max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))),
      quota: ControlGroups().processors?.value, openMP: environment("OMP_NUM_THREADS"))
  }

  init(processors: Int, quota: Int?, openMP: String?) throws {
    self.processors = processors
    self.quota = quota
    requested = try openMP.map(Self.number)
  }

  /// The threads of a pool that is not told how many.
  package var threads: Int { min(processors, quota ?? .max, requested ?? .max, Self.most) }

  /// The first number of OpenMP's list, in which each further one is for the threads of a thread.
  private static func number(_ text: String) throws -> Int {
    let numbers = text.split(separator: ",", omittingEmptySubsequences: false).map { word -> Int? in
      let digits = word.split(separator: " ")
      return digits.count == 1 ? Int(digits[0]) : nil
    }
    guard numbers.allSatisfy({ $0 ?? 0 >= 1 }), let first = numbers.first, let first else {
      throw ArgumentError(
        "OMP_NUM_THREADS", "must be a positive number, or several with commas between",
        got: "\"\(text)\"; correct it, unset it, or give the number of threads")
    }
    return first
  }
}

/// A variable of the environment; nil where it is not set, or empty.
func environment(_ name: String) -> String? {
  getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
}

/// The system starts no more threads.
public struct ThreadError: Error, CustomStringConvertible {
  /// How many threads were wanted.
  public let threads: Int
  /// Which of them could not be started, counted from 1.
  public let refused: Int

  /// What is wanted, what the system allows, and what to do.
  public var description: String {
    let limits = [
      ControlGroups().tasks.map { "\($0.file) is \($0.value)" },
      (Int(speediff_process_limit()) as Int?).flatMap { $0 < 0 ? nil : "ulimit -u is \($0)" },
    ].compactMap { $0 }
    let known = limits.isEmpty ? "" : " (\(limits.joined(separator: ", ")))"
    return "threads must be at most as many as the limit of processes and threads allows, got \(threads), of which the "
      + "system refused number \(refused); give fewer, or raise the limit\(known)"
  }
}

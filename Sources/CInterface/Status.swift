import CSpeeDiff
import Kernels
import NoiseSchedules
import Safetensors
import Training

/// A pointer is NULL that must not be.
struct NullPointerError: Error {
  let argument: String
}

/// An array has another length than the function needs.
struct WrongCountError: Error {
  let argument: String
  let expected: Int
  let count: Int64
}

/// Runs the body of an exported function. An error becomes a status and this thread's message.
func reportingStatus(_ body: () throws -> Void) -> speediff_status {
  do {
    try body()
    return SPEEDIFF_OK
  } catch let error as NullPointerError {
    LastError.set("\(error.argument) must not be NULL, got NULL")
    return SPEEDIFF_ERROR_NULL_POINTER
  } catch let error as WrongCountError {
    LastError.set("\(error.argument) must be \(error.expected), got \(error.count)")
    return SPEEDIFF_ERROR_WRONG_COUNT
  } catch let error as ArgumentError {
    LastError.set(error.inC.description)
    return SPEEDIFF_ERROR_INVALID_ARGUMENT
  } catch let error as MemoryError {
    LastError.set(error.description)
    return SPEEDIFF_ERROR_OUT_OF_MEMORY
  } catch let error as ThreadError {
    LastError.set(error.description)
    return SPEEDIFF_ERROR_THREADS
  } catch let error as SafetensorsError {
    LastError.set(error.description)
    return SPEEDIFF_ERROR_FILE
  } catch let error as TrainingError {
    LastError.set(error.messageInC)
    return error.status
  } catch {
    LastError.set("internal error: \(error)")
    return SPEEDIFF_ERROR_INTERNAL
  }
}

/// Gives this thread's message.
@_cdecl("speediff_last_error") @implementation
public func speediff_last_error() -> UnsafePointer<CChar>! {
  LastError.message
}

extension TrainingError {
  fileprivate var status: speediff_status {
    switch self {
    case .busy, .forked: SPEEDIFF_ERROR_BUSY
    case .notFinite: SPEEDIFF_ERROR_NOT_FINITE
    case .cancelled: SPEEDIFF_ERROR_CANCELLED
    }
  }
}

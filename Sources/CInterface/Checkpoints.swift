import ArgumentErrors
import CSpeeDiff
import Kernels
import Training

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

typealias CheckpointHandle = Handle<OpenCheckpoint>

/// A checkpoint, with its note in C's form.
final class OpenCheckpoint: @unchecked Sendable {
  let checkpoint: Checkpoint
  let note: UnsafeMutablePointer<CChar>?

  init(path: String) throws {
    checkpoint = try Checkpoint(path: path)
    note = strdup(checkpoint.note)
  }

  deinit { free(note) }
}

/// Writes a file.
@_cdecl("speediff_trainer_save") @implementation
public func speediff_trainer_save(
  _ trainer: OpaquePointer!, _ path: UnsafePointer<CChar>!, _ note: UnsafePointer<CChar>!
) -> speediff_status {
  reportingStatus {
    try TrainerHandle.value(trainer, "trainer")
      .save(to: text(path, "path"), note: text(note, "note"))
  }
}

/// Opens a file.
@_cdecl("speediff_checkpoint_open") @implementation
public func speediff_checkpoint_open(
  _ path: UnsafePointer<CChar>!, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus { try CheckpointHandle.create(out) { try OpenCheckpoint(path: text(path, "path")) } }
}

/// Closes a file.
@_cdecl("speediff_checkpoint_destroy") @implementation
public func speediff_checkpoint_destroy(_ checkpoint: OpaquePointer!) {
  CheckpointHandle.destroy(checkpoint)
}

/// Gives the note.
@_cdecl("speediff_checkpoint_note") @implementation
public func speediff_checkpoint_note(
  _ checkpoint: OpaquePointer!, _ note: UnsafeMutablePointer<UnsafePointer<CChar>?>!
) -> speediff_status {
  reportingStatus {
    let checkpoint = try CheckpointHandle.value(checkpoint, "checkpoint")
    try unwrap(note, "note").pointee = UnsafePointer(checkpoint.note)
  }
}

/// Makes the schedule.
@_cdecl("speediff_checkpoint_schedule") @implementation
public func speediff_checkpoint_schedule(
  _ checkpoint: OpaquePointer!, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try ScheduleHandle.create(out) { try CheckpointHandle.value(checkpoint, "checkpoint").checkpoint.schedule }
  }
}

/// Makes the trainer.
@_cdecl("speediff_checkpoint_trainer") @implementation
public func speediff_checkpoint_trainer(
  _ checkpoint: OpaquePointer!, _ sampler: OpaquePointer!, _ threads: Int32,
  _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> speediff_status {
  reportingStatus {
    try TrainerHandle.create(out) {
      try CheckpointHandle.value(checkpoint, "checkpoint").checkpoint.trainer(
        sampler: SamplerHandle.value(sampler, "sampler"), threads: try threadCount(threads))
    }
  }
}

/// A text that must be UTF-8.
private func text(_ pointer: UnsafePointer<CChar>?, _ argument: String) throws -> String {
  guard let text = try String(validatingCString: unwrap(pointer, argument)) else {
    throw ArgumentError(argument, "must be UTF-8", got: "other bytes")
  }
  return text
}

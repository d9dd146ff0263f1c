import ArgumentErrors
import CSpeeDiff
import Training

/// Writes the number of parameters.
@_cdecl("speediff_trainer_parameter_count") @implementation
public func speediff_trainer_parameter_count(
  _ trainer: OpaquePointer!, _ out: UnsafeMutablePointer<Int64>!
) -> speediff_status {
  reportingStatus {
    let list = try TrainerHandle.value(trainer, "trainer").network.parameters
    try unwrap(out, "out").pointee = Int64(list.parameters.count)
  }
}

/// Describes a parameter.
@_cdecl("speediff_trainer_parameter") @implementation
public func speediff_trainer_parameter(
  _ trainer: OpaquePointer!, _ index: Int64, _ name: UnsafeMutablePointer<UnsafePointer<CChar>?>!,
  _ shape: UnsafeMutablePointer<Int64>!, _ rank: UnsafeMutablePointer<Int64>!, _ offset: UnsafeMutablePointer<Int64>!
) -> speediff_status {
  reportingStatus {
    let trainer = try TrainerHandle.value(trainer, "trainer")
    let list = trainer.network.parameters.parameters
    guard index >= 0, index < list.count else {
      throw ArgumentError("index", "must be in [0, \(list.count))", got: index)
    }
    let (name, shape) = try (unwrap(name, "name"), unwrap(shape, "shape"))
    let (rank, offset) = try (unwrap(rank, "rank"), unwrap(offset, "offset"))
    let parameter = list[Int(index)]
    name.pointee = trainer.parameterNames[Int(index)]
    for i in 0..<Int(SPEEDIFF_MAXIMUM_RANK) { shape[i] = i < parameter.shape.count ? Int64(parameter.shape[i]) : 0 }
    rank.pointee = Int64(parameter.shape.count)
    offset.pointee = Int64(parameter.offset)
  }
}

/// Gives memory.
@_cdecl("speediff_trainer_buffer") @implementation
public func speediff_trainer_buffer(
  _ trainer: OpaquePointer!, _ buffer: speediff_buffer, _ data: UnsafeMutablePointer<UnsafeMutablePointer<Float>?>!,
  _ count: UnsafeMutablePointer<Int64>!
) -> speediff_status {
  reportingStatus {
    let trainer = try TrainerHandle.value(trainer, "trainer")
    let (data, count) = try (unwrap(data, "data"), unwrap(count, "count"))
    let floats =
      switch buffer {
      case SPEEDIFF_BUFFER_PARAMETERS: trainer.buffer(.parameters)
      case SPEEDIFF_BUFFER_GRADIENTS: trainer.buffer(.gradients)
      case SPEEDIFF_BUFFER_EXP_AVG: trainer.buffer(.firstMoment)
      case SPEEDIFF_BUFFER_EXP_AVG_SQ: trainer.buffer(.secondMoment)
      case SPEEDIFF_BUFFER_EMA_PARAMETERS: trainer.buffer(.average)
      case SPEEDIFF_BUFFER_POS_EMBED: trainer.buffer(.fixed)
      default: throw ArgumentError("buffer", "must be a speediff_buffer", got: buffer.rawValue)
      }
    data.pointee = floats.baseAddress
    count.pointee = Int64(floats.count)
  }
}

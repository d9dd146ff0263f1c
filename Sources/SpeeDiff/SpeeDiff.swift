// All that a Swift program needs of SpeeDiff, in one import: schedules, samplers with their methods, networks, the trainer,
// and the errors that they throw.

@_exported import ArgumentErrors
@_exported import struct Kernels.MemoryError
@_exported import struct Kernels.ThreadError
@_exported import Networks
@_exported import NoiseSchedules
@_exported import enum Safetensors.SafetensorsError
@_exported import TimestepSampling
@_exported import Training

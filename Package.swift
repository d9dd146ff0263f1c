// swift-tools-version: 6.1
import PackageDescription

// No unsafe flags here, so that Swift users can depend on this package by version. What needs flags (the target CPU,
// the version script, the static standard library) is passed by scripts/build.sh.
let package = Package(
  name: "speediff",
  products: [
    .library(name: "SpeeDiff", targets: ["SpeeDiff"]),
    .library(name: "NoiseSchedules", targets: ["NoiseSchedules"]),
    .library(name: "TimestepSampling", targets: ["TimestepSampling"]),
    .library(name: "Networks", targets: ["Networks"]),
    .library(name: "Training", targets: ["Training"]),
    .library(name: "speediff", type: .dynamic, targets: ["CInterface"]),
  ],
  targets: [
    .systemLibrary(name: "CSpeeDiff", path: "include"),
    .target(name: "ArgumentErrors"),
    .target(name: "NoiseSchedules", dependencies: ["ArgumentErrors"]),
    .target(name: "Safetensors"),
    .target(name: "TimestepSampling", dependencies: ["NoiseSchedules"]),
    .systemLibrary(name: "COpenBLAS", providers: [.apt(["libopenblas-dev"])]),
    .target(name: "Kernels", dependencies: ["ArgumentErrors", "COpenBLAS"]),
    .target(name: "Networks", dependencies: ["ArgumentErrors", "Kernels", "TimestepSampling"]),
    .target(
      name: "Training",
      dependencies: ["ArgumentErrors", "Kernels", "Networks", "NoiseSchedules", "Safetensors", "TimestepSampling"]),
    .target(
      name: "SpeeDiff",
      dependencies: [
        "ArgumentErrors", "Kernels", "Networks", "NoiseSchedules", "Safetensors", "TimestepSampling", "Training",
      ]),
    .target(
      name: "CInterface",
      dependencies: [
        "ArgumentErrors", "CSpeeDiff", "Kernels", "Networks", "NoiseSchedules", "Safetensors", "TimestepSampling",
        "Training",
      ]),
    .executableTarget(name: "DrawBenchmark", dependencies: ["NoiseSchedules", "TimestepSampling"]),
    .target(name: "Oracles", path: "Tests/Oracles"),
    .testTarget(name: "KernelsTests", dependencies: ["ArgumentErrors", "COpenBLAS", "Kernels", "Oracles"]),
    .testTarget(
      name: "NetworksTests", dependencies: ["ArgumentErrors", "Kernels", "Networks", "Oracles", "TimestepSampling"]),
    .testTarget(name: "NoiseSchedulesTests", dependencies: ["NoiseSchedules"]),
    .testTarget(name: "SafetensorsTests", dependencies: ["Safetensors"], exclude: ["Fixtures"]),
    .testTarget(name: "TimestepSamplingTests", dependencies: ["NoiseSchedules", "TimestepSampling"]),
    .testTarget(
      name: "TrainingTests",
      dependencies: ["Kernels", "Networks", "NoiseSchedules", "SpeeDiff", "TimestepSampling", "Training"]),
  ],
  swiftLanguageModes: [.v6]
)

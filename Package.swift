// swift-tools-version: 6.1
import PackageDescription

// No unsafe flags here, so that Swift users can depend on this package by version. What needs flags (the target CPU,
// the version script, the static standard library) is passed by scripts/build.sh.
let package = Package(
  name: "speediff",
  products: [
    .library(name: "NoiseSchedules", targets: ["NoiseSchedules"]),
    .library(name: "TimestepSampling", targets: ["TimestepSampling"]),
    .library(name: "speediff", type: .dynamic, targets: ["CInterface"]),
  ],
  targets: [
    .systemLibrary(name: "CSpeeDiff", path: "include"),
    .target(name: "NoiseSchedules"),
    .target(name: "TimestepSampling", dependencies: ["NoiseSchedules"]),
    .target(name: "CInterface", dependencies: ["CSpeeDiff", "NoiseSchedules", "TimestepSampling"]),
    .executableTarget(name: "DrawBenchmark", dependencies: ["NoiseSchedules", "TimestepSampling"]),
    .testTarget(name: "NoiseSchedulesTests", dependencies: ["NoiseSchedules"]),
    .testTarget(name: "TimestepSamplingTests", dependencies: ["NoiseSchedules", "TimestepSampling"]),
  ],
  swiftLanguageModes: [.v6]
)

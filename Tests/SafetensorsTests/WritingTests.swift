#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif
import Testing

@testable import Safetensors

@Suite("Writing")
struct WritingTests {
  let directory = TemporaryDirectory()

  private static func tensor(_ count: Int, _ byte: UInt8 = 1) -> Tensor {
    Tensor(name: "w", dtype: .u8, shape: [count], bytes: [UInt8](repeating: byte, count: count))
  }

  @Test("What cannot be written is refused, and leaves no file")
  func arguments() {
    func expect(_ wanted: String, metadata: [String: String] = [:], _ tensors: Tensor...) {
      #expect(message(in: directory) { try write(tensors, to: directory / "a", metadata: metadata) } == wanted)
      #expect(directory.names == [])
    }
    expect("tensors must not repeat a name, got \"w\" twice", Self.tensor(1), Self.tensor(2))
    expect(
      "tensors must not have the name of the metadata, got \"__metadata__\"",
      Tensor(name: "__metadata__", dtype: .u8, shape: [1], bytes: [1]))
    expect(
      "tensor \"w\" must have 8 bytes for F32 [2], got 7 bytes",
      Tensor(name: "w", dtype: .f32, shape: [2], bytes: [UInt8](repeating: 0, count: 7)))
    expect(
      "tensor \"w\" must have a size that fits 64 bits for U8 [-1], got 1 bytes",
      Tensor(name: "w", dtype: .u8, shape: [-1], bytes: [1]))
    expect(
      "tensor \"w\" must have a size that fits 64 bits for F64 [\(1 << 62), 2], got 0 bytes",
      Tensor(name: "w", dtype: .f64, shape: [1 << 62, 2], bytes: []))
    expect(
      "metadata must not have the checksums' keys, got \"speediff.data_xxh64\"",
      metadata: ["speediff.data_xxh64": ""])
  }

  @Test("A path that is no file, or in no directory, is an error of the system or says what is there")
  func places() {
    mkfifo(directory / "fifo", 0o600)
    mkdir(directory / "folder", 0o700)
    defer { rmdir(directory / "folder") }
    let missing = "must be in a directory that can be read and written, got"
    let cases = [
      ("none/a", "none/a \(missing) No such file or directory (errno 2)"),
      ("fifo/a", "fifo/a \(missing) Not a directory (errno 20)"),
      ("fifo", "fifo must be a regular file, got a FIFO"), ("folder", "folder must be a regular file, got a directory"),
      ("folder/", "folder/ must be a regular file, got a directory"),
      ("..", ".. must be a regular file, got a directory"),
    ]
    for (name, wanted) in cases {
      #expect(message(in: directory) { try write([Self.tensor(9)], to: directory / name) } == wanted)
    }
    #expect(
      message(in: directory) { try write([], to: "/dev/full") } == "/dev/full must be a regular file, got a device")
    #expect(directory.names == ["fifo", "folder"])
  }

  // /proc takes no files, not even from root.
  @Test("A read-only place is an error", .enabled(if: access("/proc/self", F_OK) == 0))
  func readOnlyPlace() {
    let text = message(in: directory) { try write([], to: "/proc/self/a") }
    #expect(text.hasPrefix("/proc/self/a must be in a directory that can be read and written, got "))
  }

  @Test("A read-only directory and a read-only file are errors", .enabled(if: geteuid() != 0, "root may write them"))
  func permissions() throws {
    try write([Self.tensor(9)], to: directory / "a")
    let before = contents(directory / "a")
    chmod(directory / "a", 0o444)
    let denied = "got Permission denied (errno 13)"
    #expect(message(in: directory) { try write([], to: directory / "a") } == "a must be writable, \(denied)")
    chmod(directory / "a", 0o644)
    chmod(directory.path, 0o555)
    defer { chmod(directory.path, 0o700) }
    for name in ["a", "b"] {
      #expect(
        message(in: directory) { try write([], to: directory / name) }
          == "\(name) must be in a directory that can be read and written, \(denied)")
    }
    #expect(contents(directory / "a") == before)
  }

  @Test("The mode of a file is kept, and a new one follows the umask")
  func modes() throws {
    try write([], to: directory / "a")
    create(directory / "b", [])
    #expect(mode(directory / "a") == mode(directory / "b"))
    chmod(directory / "a", 0o640)
    try write([Self.tensor(5)], to: directory / "a")
    #expect(mode(directory / "a") == 0o640)
    #expect(directory.names == ["a", "b"])
  }

  @Test("A symbolic link stays, and the file that it leads to is replaced or made")
  func links() throws {
    mkdir(directory / "folder", 0o700)
    defer {
      unlink(directory / "folder/file")
      rmdir(directory / "folder")
    }
    symlink("second", directory / "first")
    symlink("folder/file", directory / "second")
    for count in [3, 4] {
      try write([Self.tensor(count)], to: directory / "first")
      #expect(mode(directory / "first") & 0o777 == 0o777)
      #expect(try SafetensorsFile(path: directory / "folder/file").tensor("w").shape == [count])
    }
    symlink(directory / "loop", directory / "loop")
    let text = message(in: directory) { try write([], to: directory / "loop") }
    #expect(text == "loop must lead to a file, got Too many levels of symbolic links (errno 40)")
    #expect(directory.names == ["first", "folder", "loop", "second"])
  }

  @Test("A relative path and the longest name are written")
  func names() throws {
    let name = String(repeating: "é", count: 127) + "a"
    try write([Self.tensor(3)], to: directory / name)
    try SafetensorsFile(path: directory / name).verify()
    #expect(directory.names == [name])
    let text = message(in: directory) { try write([], to: directory / (name + "b")) }
    #expect(text == "\(name)b must be writable, got File name too long (errno 36)")
    #expect(directory.names == [name])
    let relative = "safetensors-\(getpid()).tmp"
    defer { unlink(relative) }
    try write([Self.tensor(3)], to: relative)
    try SafetensorsFile(path: relative).verify()
  }

  @Test("Temporary files of dead writers are removed; those of living ones, and others' files, are not")
  func staleFiles() throws {
    let kept = [
      ".a.speediff-1-.tmp", ".a.speediff-1.tmp", ".a.speediff-1-2-3.tmp", ".a.speediff-1-2.tmp2", ".b.speediff-1-2.tmp",
      ".a.speediff-x-2.tmp", ".aa.speediff-1-2.tmp",
    ]
    for name in kept + [".a.speediff-1-2.tmp", ".a.speediff-\(getpid())-0.tmp"] { create(directory / name, [1]) }
    mkfifo(directory / ".a.speediff-9-9.tmp", 0o600)
    create(directory / ".a.speediff-77-0.tmp", [1])
    let living = open(directory / ".a.speediff-77-0.tmp", O_RDWR)
    defer { close(living) }
    #expect(flock(living, LOCK_EX) == 0)
    try write([Self.tensor(5)], to: directory / "a")
    #expect(directory.names == (kept + ["a", ".a.speediff-9-9.tmp", ".a.speediff-77-0.tmp"]).sorted())
  }

  @Test("Writers of one file at once leave one of their files, whole")
  func concurrency() async throws {
    let path = directory / "a"
    try await withThrowingTaskGroup { group in
      for byte in 0..<16 as Range<UInt8> {
        group.addTask { try write([Self.tensor(100_000 + Int(byte), byte)], to: path) }
      }
      try await group.waitForAll()
    }
    let file = try SafetensorsFile(path: path)
    try file.verify()
    let tensor = try file.load("w")
    #expect(tensor == Self.tensor(tensor.bytes.count, UInt8(tensor.bytes.count - 100_000)))
    #expect(directory.names == ["a"])
  }

  #if os(Linux) || os(macOS)
    // In a process of its own, whose files may not grow: writes are cut short, and then fail, as on a full device.
    @Test("On a full device the file stays as it was, and no other is left")
    func fullDevice() async {
      await #expect(processExitsWith: .success) {
        let directory = TemporaryDirectory()
        try write([Self.tensor(50_000)], to: directory / "a")
        let before = contents(directory / "a")
        signal(SIGXFSZ, SIG_IGN)
        var limit = rlimit()
        limit.rlim_cur = 100_001
        limit.rlim_max = 100_001
        #if canImport(Glibc)
          setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
        #else
          setrlimit(RLIMIT_FSIZE, &limit)
        #endif
        for name in ["a", "b"] {
          let text = message(in: directory) { try write([Self.tensor(300_000)], to: directory / name) }
          #expect(text == "\(name) must be writable, got File too large (errno 27)")
        }
        #expect(contents(directory / "a") == before)
        #expect(directory.names == ["a"])
        try write([Self.tensor(60_000)], to: directory / "a")
        try SafetensorsFile(path: directory / "a").verify()
      }
    }
  #endif
}

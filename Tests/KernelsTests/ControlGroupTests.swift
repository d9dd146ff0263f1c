import ArgumentErrors
import Testing

@testable import Kernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A folder that stands for `/`, with the files that a kernel would show.
private final class Tree {
  let root: String
  private var paths: [String]

  init(_ files: [String: String]) throws {
    var name = Array("/tmp/speediff-tree-XXXXXX".utf8CString)
    try #require(mkdtemp(&name) != nil)
    root = String(decoding: name.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    paths = [root]
    for (path, text) in files {
      var folder = root
      for part in path.split(separator: "/").dropLast() {
        folder += "/" + part
        if mkdir(folder, 0o700) == 0 { paths.append(folder) }
      }
      paths.append(root + path)
      let file = try #require(fopen(root + path, "w"))
      fputs(text, file)
      fclose(file)
    }
  }

  deinit { for path in paths.reversed() { remove(path) } }

  var groups: ControlGroups { ControlGroups(root: root) }
}

@Suite("Control groups")
struct ControlGroupTests {
  static let unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
  static let separate = """
    25 30 0:22 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
    31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:12 - cgroup cgroup rw,cpu,cpuacct
    32 25 0:28 / /sys/fs/cgroup/memory rw shared:13 - cgroup cgroup rw,memory
    33 25 0:29 / /sys/fs/cgroup/pids rw shared:14 - cgroup cgroup rw,pids
    34 25 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd

    """

  @Test("Without control groups there are no limits")
  func none() throws {
    let groups = try Tree(["/etc/hostname": "a"]).groups
    #expect(groups.processors == nil && groups.memory == nil && groups.tasks == nil)
  }

  @Test("Version 2: the process's own group counts, not the tree's root")
  func ownGroup() throws {
    let own = "/sys/fs/cgroup/user.slice/run-1.scope"
    let tree = try Tree([
      "/proc/self/cgroup": "0::/user.slice/run-1.scope\n", "/proc/self/mountinfo": Self.unified,
      "\(own)/cpu.max": "50000 100000\n", "\(own)/memory.max": "134217728\n", "\(own)/pids.max": "20\n",
      "/sys/fs/cgroup/user.slice/memory.max": "max\n", "/sys/fs/cgroup/other/memory.max": "1\n",
    ])
    #expect(tree.groups.processors == .init(value: 1, file: "\(own)/cpu.max"))
    #expect(tree.groups.memory == .init(value: 128 << 20, file: "\(own)/memory.max"))
    #expect(tree.groups.tasks == .init(value: 20, file: "\(own)/pids.max"))
  }

  @Test("A group around the process's own may be the narrower one")
  func nested() throws {
    let tree = try Tree([
      "/proc/self/cgroup": "0::/a/b/c\n", "/proc/self/mountinfo": Self.unified,
      "/sys/fs/cgroup/a/cpu.max": "250000 100000\n", "/sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
      "/sys/fs/cgroup/a/b/c/cpu.max": "400000 100000\n", "/sys/fs/cgroup/a/memory.max": "3000\n",
      "/sys/fs/cgroup/a/b/memory.max": "2000\n", "/sys/fs/cgroup/a/b/c/memory.max": "max\n",
    ])
    #expect(tree.groups.processors == .init(value: 2, file: "/sys/fs/cgroup/a/cpu.max"))
    #expect(tree.groups.memory == .init(value: 2000, file: "/sys/fs/cgroup/a/b/memory.max"))
    #expect(tree.groups.tasks == nil)
  }

  @Test(
    "A quota is in whole processors, and at least one",
    arguments: [
      ("100000 100000", 1), ("1000 100000", 1), ("199999 100000", 1), ("200000 100000", 2), ("75000 25000", 3),
    ])
  func rounding(text: String, processors: Int) throws {
    let tree = try Tree([
      "/proc/self/cgroup": "0::/\n", "/proc/self/mountinfo": Self.unified, "/sys/fs/cgroup/cpu.max": text + "\n",
    ])
    #expect(tree.groups.processors?.value == processors)
  }

  @Test("Version 1: each controller has a group of its own, and groups around it")
  func version1() throws {
    let tree = try Tree([
      "/proc/self/cgroup": "9:name=systemd:/x\n4:memory:/slurm/job\n3:cpu,cpuacct:/slurm/job/step\n2:pids:/\n",
      "/proc/self/mountinfo": Self.separate,
      "/sys/fs/cgroup/cpu,cpuacct/slurm/job/cpu.cfs_quota_us": "300000\n",
      "/sys/fs/cgroup/cpu,cpuacct/slurm/job/cpu.cfs_period_us": "100000\n",
      "/sys/fs/cgroup/cpu,cpuacct/slurm/job/step/cpu.cfs_quota_us": "-1\n",
      "/sys/fs/cgroup/cpu,cpuacct/slurm/job/step/cpu.cfs_period_us": "100000\n",
      "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
      "/sys/fs/cgroup/memory/slurm/memory.limit_in_bytes": "4096000\n",
      "/sys/fs/cgroup/memory/slurm/job/memory.limit_in_bytes": "9223372036854771712\n",
      "/sys/fs/cgroup/pids/pids.max": "max\n",
    ])
    let cpu = "/sys/fs/cgroup/cpu,cpuacct/slurm/job/cpu.cfs_quota_us"
    #expect(tree.groups.processors == .init(value: 3, file: cpu))
    #expect(tree.groups.memory == .init(value: 4_096_000, file: "/sys/fs/cgroup/memory/slurm/memory.limit_in_bytes"))
    #expect(tree.groups.tasks == nil)
  }

  @Test("Version 1 and 2 side by side")
  func hybrid() throws {
    let tree = try Tree([
      "/proc/self/cgroup": "3:cpu,cpuacct:/a\n0::/b\n",
      "/proc/self/mountinfo": Self.separate + "41 25 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
      "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "200000\n",
      "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n", "/sys/fs/cgroup/unified/b/memory.max": "777\n",
    ])
    #expect(tree.groups.processors?.value == 2)
    #expect(tree.groups.memory?.value == 777)
  }

  @Test(
    "A container sees its own part of the hierarchy", arguments: ["/docker/1f", "/docker/1f/deeper", "/../../else"])
  func container(group: String) throws {
    let inner = group == "/docker/1f/deeper" ? "/deeper" : ""
    let tree = try Tree([
      "/proc/self/cgroup": "4:memory:\(group)\n0::/\n",
      "/proc/self/mountinfo": "31 25 0:28 /docker/1f /sys/fs/cgroup/memory ro - cgroup cgroup ro,memory\n",
      "/sys/fs/cgroup/memory\(inner)/memory.limit_in_bytes": "5000\n",
    ])
    #expect(tree.groups.memory == .init(value: 5000, file: "/sys/fs/cgroup/memory\(inner)/memory.limit_in_bytes"))
  }

  @Test("A group with another one's name at its beginning is another one")
  func siblings() throws {
    let tree = try Tree([
      "/proc/self/cgroup": "0::/docker/1fa\n",
      "/proc/self/mountinfo": """
      1 2 0:1 /docker/1f /one rw - cgroup2 cgroup2 rw
      1 2 0:1 /docker/1fa /with\\040blank rw shared:1 master:2 - cgroup2 cgroup2 rw

      """,
      "/one/memory.max": "1\n", "/with blank/memory.max": "2\n",
    ])
    #expect(tree.groups.memory == .init(value: 2, file: "/with blank/memory.max"))
  }

  @Test(
    "What is not as a kernel writes it sets no limit", arguments: ["", "\n", "max", "x 100000", "-1 1", "5", "5 0"])
  func malformed(text: String) throws {
    let tree = try Tree([
      "/proc/self/cgroup": "0::/a\nx\n::\n", "/proc/self/mountinfo": "1 2 3 - \n -\n" + Self.unified,
      "/sys/fs/cgroup/a/cpu.max": text, "/sys/fs/cgroup/a/memory.max": "max\n", "/sys/fs/cgroup/a/pids.max": "\n",
    ])
    #expect(tree.groups.processors == nil && tree.groups.memory == nil && tree.groups.tasks == nil)
  }
}

@Suite("Threads of a process")
struct ThreadLimitTests {
  @Test("The smallest limit counts")
  func smallest() throws {
    #expect(try ThreadLimits(processors: 8, quota: nil, openMP: nil).threads == 8)
    #expect(try ThreadLimits(processors: 8, quota: 3, openMP: nil).threads == 3)
    #expect(try ThreadLimits(processors: 8, quota: 30, openMP: "2").threads == 2)
    #expect(try ThreadLimits(processors: 2, quota: nil, openMP: "64").threads == 2)
    #expect(try ThreadLimits(processors: 4096, quota: nil, openMP: nil).threads == 1024)
  }

  @Test("OMP_NUM_THREADS is a number, or several", arguments: [("3", 3), (" 3 ", 3), ("4,2", 4), ("5, 1,9", 5)])
  func openMP(text: String, threads: Int) throws {
    #expect(try ThreadLimits(processors: 8, quota: nil, openMP: text).requested == threads)
  }

  @Test("Anything else is an error", arguments: ["abc", "0", "-2", "2.5", "1,", ",", "3 4", "2,x", " "])
  func malformed(text: String) throws {
    #expect { try ThreadLimits(processors: 8, quota: nil, openMP: text) } throws: { error in
      (error as? ArgumentError)?.description.hasPrefix(
        "OMP_NUM_THREADS must be a positive number, or several with commas between, got \"\(text)\"") == true
    }
  }

  @Test("A matrix product is one of those there are")
  func products() throws {
    #expect(try MatrixProduct.choice(nil) == nil)
    #expect(try MatrixProduct.choice("native") == .native && MatrixProduct.choice("openblas") == .openBLAS)
    #expect { try MatrixProduct.choice("abc") } throws: {
      "\($0)" == "SPEEDIFF_MATRIX_PRODUCT must be one of openblas, native, or not set, got \"abc\""
    }
  }
}

import Foundation
import Testing

@testable import Tensors

@Suite("How many threads a process runs where nobody says") struct ProcessorAllowanceTests {
    /// Files under a root, as the system shows them.
    private func allowance(_ files: [String: String], processors: [Int]) throws -> ProcessorAllowance {
        let root = FileManager.default.temporaryDirectory.appending(path: "allowance-\(UUID())")
        defer { try? FileManager.default.removeItem(at: root) }
        for (path, text) in files {
            let file = root.appending(path: path)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        return ProcessorAllowance(processors: processors, root: root.path)
    }

    private func topology(_ siblings: [String]) -> [String: String] {
        var files: [String: String] = [:]
        for (index, text) in siblings.enumerated() {
            files["sys/devices/system/cpu/cpu\(index)/topology/thread_siblings_list"] = text + "\n"
        }
        return files
    }

    @Test("one per core: siblings beside each other, far apart, as ranges")
    func cores() throws {
        for (siblings, cores) in [
            (["0-1", "0-1", "2-3", "2-3"], 2), (["0,2", "1,3", "0,2", "1,3"], 2), (["0", "1", "2", "3"], 4),
            (["0-3", "0-3", "0-3", "0-3"], 1),
        ] {
            let found = try allowance(topology(siblings), processors: [0, 1, 2, 3])
            #expect(found.physicalCores == cores && found.logicalProcessors == 4 && found.threads == cores)
            #expect(found.quota == nil)
        }
        // Of four cores the process may use one whole one and a half.
        let some = try allowance(topology(["0,2", "1,3", "0,2", "1,3"]), processors: [0, 2, 3])
        #expect(some.physicalCores == 2 && some.logicalProcessors == 3)
    }

    @Test("without lists of siblings by package and core, without anything by processor")
    func fallbacks() throws {
        var files: [String: String] = [:]
        for (index, core) in [0, 1, 0, 1, 0].enumerated() {
            let folder = "sys/devices/system/cpu/cpu\(index)/topology/"
            files[folder + "core_id"] = "\(core)\n"
            files[folder + "physical_package_id"] = index == 4 ? "1\n" : "0\n"
        }
        #expect(try allowance(files, processors: [0, 1, 2, 3, 4]).physicalCores == 3)
        #expect(try allowance([:], processors: [0, 1, 2]).physicalCores == 3)
        #expect(try allowance(topology(["", "x", "-"]), processors: [0, 1, 2]).physicalCores == 3)
        let none = try allowance([:], processors: [])
        #expect(none.threads == 1 && none.logicalProcessors == 1)
    }

    private static let unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
    private static let first =
        "31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n"

    private func quota(_ files: [String: String], groups: String, mounts: String) throws -> Double? {
        var all = files
        all["proc/self/cgroup"] = groups
        all["proc/self/mountinfo"] = "22 1 8:1 / / rw - ext4 /dev/sda rw\nnot a line\n" + mounts
        return try allowance(all, processors: Array(0..<16)).quota
    }

    @Test("the smallest quota from the process's group up to the root, version 2")
    func unified() throws {
        let group = "0::/a/b\n"
        let cgroup = "sys/fs/cgroup/"
        func found(_ files: [String: String]) throws -> Double? {
            try quota(files, groups: group, mounts: Self.unified)
        }
        #expect(try found([cgroup + "a/b/cpu.max": "250000 100000\n"]) == 2.5)
        #expect(
            try found([cgroup + "a/cpu.max": "50000 100000\n", cgroup + "a/b/cpu.max": "max 100000\n"]) == 0.5
        )
        #expect(
            try found([cgroup + "a/cpu.max": "400000 100000\n", cgroup + "a/b/cpu.max": "300000 100000\n"])
                == 3)
        #expect(try found([cgroup + "cpu.max": "700000 100000\n"]) == 7)
        #expect(try found([cgroup + "a/b/cpu.max": "max 100000\n"]) == nil)
        // Another group's.
        #expect(try found([cgroup + "c/cpu.max": "100000 100000\n"]) == nil)
        for broken in ["", "max", "-1 100000", "100000", "100000 0", "x y", "9999999999999999999999 1"] {
            #expect(try found([cgroup + "a/b/cpu.max": broken]) == nil, "\(broken)")
        }
        // Version 2 beside version 1, where the root has no processor controller.
        #expect(
            try quota(
                ["sys/fs/cgroup/unified/cpu.max": "200000 100000"], groups: "1:cpu:/\n0::/\n",
                mounts: Self.unified.replacingOccurrences(
                    of: "/sys/fs/cgroup ", with: "/sys/fs/cgroup/unified "))
                == 2)
    }

    @Test("version 1: quota and period, and −1 for none")
    func first() throws {
        let groups = "12:pids:/docker/x\n4:cpu,cpuacct:/docker/x\n1:name=systemd:/docker/x\n"
        let folder = "sys/fs/cgroup/cpu,cpuacct/"
        func files(_ place: String, _ limit: String, _ period: String) -> [String: String] {
            [
                folder + place + "cpu.cfs_quota_us": limit + "\n",
                folder + place + "cpu.cfs_period_us": period + "\n",
            ]
        }
        func found(_ files: [String: String], mounts: String = Self.first) throws -> Double? {
            try quota(files, groups: groups, mounts: mounts)
        }
        #expect(try found(files("docker/x/", "150000", "100000")) == 1.5)
        #expect(try found(files("docker/x/", "-1", "100000")) == nil)
        #expect(try found(files("docker/", "100000", "50000")) == 2)
        #expect(try found([folder + "docker/x/cpu.cfs_quota_us": "100000"]) == nil)
        // In the container the mount shows the group itself, whose name outside the process knows.
        let inside = Self.first.replacingOccurrences(of: " / /sys", with: " /docker/x /sys")
        #expect(try found(files("", "300000", "100000"), mounts: inside) == 3)
        // A mount that shows another group, and one that has no processor controller.
        let other = Self.first.replacingOccurrences(of: " / /sys", with: " /docker/y /sys")
        #expect(try found(files("", "300000", "100000"), mounts: other) == 3)
        let memory = Self.first.replacingOccurrences(of: "rw,cpu,cpuacct", with: "rw,memory")
        #expect(try found(files("docker/x/", "150000", "100000"), mounts: memory) == nil)
    }

    @Test("paths with spaces, and groups seen from another namespace")
    func paths() throws {
        let mounts = Self.unified.replacingOccurrences(of: "/sys/fs/cgroup ", with: "/my\\040groups ")
        #expect(try quota(["my groups/a/cpu.max": "100000 100000"], groups: "0::/a\n", mounts: mounts) == 1)
        #expect(
            try quota(["sys/fs/cgroup/cpu.max": "100000 100000"], groups: "0::/../..\n", mounts: Self.unified)
                == 1)
        #expect(
            try quota(["sys/fs/cgroup/cpu.max": "100000 100000"], groups: "", mounts: Self.unified) == nil)
    }

    @Test("threads are cores or the quota rounded up, at least one; the reason is said")
    func threads() {
        func of(_ cores: Int, _ logical: Int, _ quota: Double?) -> ProcessorAllowance {
            ProcessorAllowance(logicalProcessors: logical, physicalCores: cores, quota: quota)
        }
        for (allowance, threads) in [
            (of(8, 16, nil), 8), (of(8, 16, 2.5), 3), (of(8, 16, 2), 2), (of(8, 16, 0.1), 1),
            (of(2, 4, 3), 2),
            (of(2, 4, 1e300), 2), (of(0, 0, nil), 1),
        ] { #expect(allowance.threads == threads, "\(allowance)") }
        #expect("\(of(2, 4, 2.5))" == "2 physical cores, 4 logical; container quota 2.5 CPUs")
        #expect("\(of(1, 2, 1))" == "1 physical core, 2 logical; container quota 1 CPU")
        #expect("\(of(4, 4, nil))" == "4 physical cores, 4 logical")
    }

    @Test("this machine's is what a pool gets")
    func here() throws {
        let current = ProcessorAllowance.current()
        #expect(current.threads >= 1 && current.physicalCores <= current.logicalProcessors)
        #expect(try Compute().threads == current.threads)
    }
}

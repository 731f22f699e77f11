internal import CKernels

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// How much of the machine this process may use, and so how many threads it runs where nobody says.
///
/// Kernels fill a core's arithmetic units with one thread, so two threads of one core only share its caches: one per
/// core is best, as the system reports cores (a hypervisor may report each of its processors as a core of its own, or two
/// as one). More threads than a container's quota would spend most of each period stopped, in the middle of a job that
/// the others wait for.
package struct ProcessorAllowance: Sendable, Hashable {
    /// Processors of the system that the process may run on, at least 1. A core with two threads is two.
    package let logicalProcessors: Int
    /// Cores that these belong to, at least 1.
    package let physicalCores: Int
    /// Processors' worth of time that the container may use; nil without a limit.
    package let quota: Double?

    package init(logicalProcessors: Int, physicalCores: Int, quota: Double?) {
        self.logicalProcessors = max(logicalProcessors, 1)
        self.physicalCores = max(physicalCores, 1)
        self.quota = quota
    }

    /// One per core, but no more than the quota, rounded up; at least 1.
    package var threads: Int {
        guard let quota, quota < Double(physicalCores) else { return physicalCores }
        return max(Int(quota.rounded(.up)), 1)
    }

    /// What the system says now.
    package static func current() -> ProcessorAllowance {
        ProcessorAllowance(processors: allowedProcessors(), root: "")
    }

    /// - Parameters:
    ///   - processors: numbers of those that the process may run on
    ///   - root: the folder that `proc` and `sys` are in, without a slash at its end
    init(processors: [Int], root: String) {
        let read = { (path: String) in Self.text(ofFileAt: root + path) }
        self.init(
            logicalProcessors: processors.count,
            physicalCores: Self.cores(of: processors, read: read),
            quota: Self.quota(read: read))
    }

    private static func allowedProcessors() -> [Int] {
        var list = [UInt32](repeating: 0, count: 8192)
        let count = fv_cpu_list(&list, list.count)
        return list.prefix(count).map(Int.init)
    }

    // MARK: Cores

    /// How many cores the processors belong to. One whose neighbours are not reported counts as a core.
    static func cores(of processors: [Int], read: (_ path: String) -> String?) -> Int {
        var cores: Set<String> = []
        for processor in processors {
            let folder = "/sys/devices/system/cpu/cpu\(processor)/topology/"
            if let first = read(folder + "thread_siblings_list").flatMap(firstProcessor(inList:)) {
                cores.insert("thread \(first)")
            } else if let core = read(folder + "core_id").flatMap(number) {
                let package = read(folder + "physical_package_id").flatMap(number) ?? 0
                cores.insert("package \(package) core \(core)")
            } else {
                cores.insert("processor \(processor)")
            }
        }
        return cores.count
    }

    /// The smallest number of a list such as "0-1,64-65".
    static func firstProcessor(inList text: String) -> Int? {
        text.split(whereSeparator: { ",-\n ".contains($0) }).compactMap { Int($0) }.filter { $0 >= 0 }.min()
    }

    private static func number(_ text: String) -> Int? {
        text.split(whereSeparator: \.isWhitespace).first.flatMap { Int($0) }
    }

    // MARK: Quota

    /// The smallest quota of the control groups that the process is in, from its own up to the root, in processors.
    static func quota(read: (_ path: String) -> String?) -> Double? {
        guard let groups = read("/proc/self/cgroup"), let mounts = read("/proc/self/mountinfo") else {
            return nil
        }
        var smallest: Double?
        for mount in mounts.split(separator: "\n").compactMap(ControlGroupMount.init) {
            guard let path = mount.path(in: groups) else { continue }
            for folder in mount.folders(of: path) {
                let found: Double?
                if mount.isUnified {
                    found = read(folder + "/cpu.max").flatMap(quota(inMaximum:))
                } else {
                    let limit = read(folder + "/cpu.cfs_quota_us").flatMap(number)
                    found = quota(limit, period: read(folder + "/cpu.cfs_period_us").flatMap(number))
                }
                if let found { smallest = min(smallest ?? found, found) }
            }
        }
        return smallest
    }

    /// "250000 100000" is 2.5; "max 100000" is no limit.
    static func quota(inMaximum text: String) -> Double? {
        let words = text.split(whereSeparator: \.isWhitespace)
        return quota(words.first.flatMap { Int($0) }, period: words.dropFirst().first.flatMap { Int($0) })
    }

    private static func quota(_ limit: Int?, period: Int?) -> Double? {
        guard let limit, limit > 0, let period, period > 0 else { return nil }
        return Double(limit) / Double(period)
    }

    /// At most 4 MiB; nil where the file cannot be read.
    static func text(ofFileAt path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16384)
        while bytes.count < 4 << 20 {
            let count = read(descriptor, &buffer, buffer.count)
            if count == 0 { return String(decoding: bytes, as: UTF8.self) }
            guard count > 0 else { return nil }
            bytes += buffer.prefix(count)
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension ProcessorAllowance: CustomStringConvertible {
    /// Such as "2 physical cores, 4 logical; container quota 2.5 CPUs".
    package var description: String {
        let cores =
            "\(physicalCores) physical \(physicalCores == 1 ? "core" : "cores"), \(logicalProcessors) logical"
        guard let quota else { return cores }
        let rounded = (quota * 100).rounded() / 100
        let amount = rounded == rounded.rounded() && rounded < 1e6 ? "\(Int(rounded))" : "\(rounded)"
        return "\(cores); container quota \(amount) \(amount == "1" ? "CPU" : "CPUs")"
    }
}

/// A line of /proc/self/mountinfo that shows control groups with processor time:
/// number, parent, device, root, place, options, optional fields, "-", type, source, options.
private struct ControlGroupMount {
    /// Version 2.
    let isUnified: Bool
    /// The group that stands at `place`.
    let root: String
    let place: String

    init?(_ line: Substring) {
        let words = line.split(separator: " ")
        guard words.count >= 6, let dash = words.firstIndex(of: "-"), words.count > dash + 3 else {
            return nil
        }
        switch words[dash + 1] {
        case "cgroup2": isUnified = true
        case "cgroup" where words[dash + 3].split(separator: ",").contains("cpu"): isUnified = false
        default: return nil
        }
        root = Self.plain(words[3])
        place = Self.plain(words[4])
    }

    /// The group of the process, out of lines "number:controllers:path".
    func path(in groups: String) -> String? {
        for line in groups.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            if isUnified ? parts[1].isEmpty : parts[1].split(separator: ",").contains("cpu") {
                return String(parts[2])
            }
        }
        return nil
    }

    /// Folders of the group and of those above it, as far as the mount shows them.
    func folders(of path: String) -> [String] {
        var names = path.split(separator: "/")
        let above = root.split(separator: "/")
        // A group outside of what is mounted, or seen from another namespace: only the mount's own is known.
        names = names.starts(with: above) && !names.contains("..") ? Array(names.dropFirst(above.count)) : []
        return (0...names.count).reversed().map { count in
            ([place == "/" ? "" : place] + names.prefix(count).map(String.init)).joined(separator: "/")
        }
    }

    /// Spaces, tabs, line ends and backslashes are octal there: "\040".
    private static func plain(_ word: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(word.utf8)[...]
        while let byte = rest.popFirst() {
            let digits = rest.prefix(3)
            if byte == UInt8(ascii: "\\"), digits.count == 3,
                let code = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
            {
                bytes.append(code)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

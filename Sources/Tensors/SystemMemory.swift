#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Memory for numbers, with some left for what cannot do without: the language's runtime and Foundation end the program
/// when the system refuses them a few bytes, and Dispatch waits for ever for a thread.
package enum SystemMemory {
    /// Bytes that can be taken without pushing anything out, by the system's estimate and the container's limit; nil where
    /// neither is known.
    package static var availableBytes: Int? {
        let kibibytes = ProcessorAllowance.text(ofFileAt: "/proc/meminfo").flatMap(availableKibibytes)
        let folder = "/sys/fs/cgroup/"
        let (limit, used) = (number(in: folder + "memory.max"), number(in: folder + "memory.current"))
        let left = limit.flatMap { limit in used.map { max(limit - $0, 0) } }
        return [kibibytes.map { $0 << 10 }, left].compactMap { $0 }.min()
    }

    private static func number(in file: String) -> Int? {
        // A group without a limit says "max".
        ProcessorAllowance.text(ofFileAt: file).flatMap { Int($0.filter { !$0.isWhitespace }) }
    }

    /// The line "MemAvailable:   12345 kB".
    static func availableKibibytes(_ text: String) -> Int? {
        for line in text.split(separator: "\n") where line.hasPrefix("MemAvailable:") {
            let words = line.split(separator: " ")
            // More would not be a number of bytes.
            return words.count == 3 ? Int(words[1]).flatMap { (0..<1 << 43).contains($0) ? $0 : nil } : nil
        }
        return nil
    }

    /// Bytes of address space that stay free: a thread's stack of 8 MiB, its heap, and what the runtime keeps of types.
    private static let reserve = 32 << 20
    /// Smaller blocks come out of what the heap has already.
    private static let leastGuarded = 128 << 10

    /// Uninitialised memory, aligned to ``Storage/alignment``, to be given to `free`.
    /// - Returns: nil where the system has not so much, or would be left with hardly anything.
    static func allocate(_ bytes: Int) -> UnsafeMutableRawPointer? {
        guard bytes < leastGuarded || hasRoom(for: bytes) else { return nil }
        var base: UnsafeMutableRawPointer?
        return posix_memalign(&base, Storage.alignment, bytes) == 0 ? base : nil
    }

    /// Whether the process may address so many bytes more, and still has its reserve.
    static func hasRoom(for bytes: Int) -> Bool {
        guard isLimited else { return true }
        let (size, overflow) = bytes.addingReportingOverflow(reserve)
        guard !overflow, let place = mmap(nil, size, PROT_NONE, MAP_PRIVATE | MAP_ANON, -1, 0),
            place != MAP_FAILED
        else { return false }
        munmap(place, size)
        return true
    }

    /// Whether `ulimit -v` says anything. Without it, memory runs out in other ways, which nobody can foresee.
    private static var isLimited: Bool {
        var limit = rlimit()
        #if canImport(Glibc)
            let result = getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit)
        #else
            let result = getrlimit(RLIMIT_AS, &limit)
        #endif
        return result == 0 && limit.rlim_cur < rlim_t(Int.max)
    }
}

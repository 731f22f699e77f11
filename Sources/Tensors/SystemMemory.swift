#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Memory for numbers, with some left for what cannot do without: the language's runtime and Foundation end the program
/// when the system refuses them a few bytes, and Dispatch waits for ever for a thread.
enum SystemMemory {
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

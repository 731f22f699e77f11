internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The jobs of this process. It is global because C has nothing to hold it in.
let handles = Handles()
/// The texts that callers have.
let texts = Texts()

/// Jobs by their numbers. None is used twice, so a released one never comes to mean another job.
final class Handles: Sendable {
    private struct State {
        var last: Int64 = 0
        var jobs: [Int64: Job] = [:]
    }

    private let state = Mutex(State())

    func add(_ job: Job) -> Int64 {
        state.withLock { state in
            state.last += 1
            state.jobs[state.last] = job
            return state.last
        }
    }

    func job(_ handle: Int64) throws(Failure) -> Job {
        guard let job = state.withLock({ $0.jobs[handle] }) else { throw .invalidHandle(handle) }
        return job
    }

    func remove(_ handle: Int64) throws(Failure) -> Job {
        guard let job = state.withLock({ $0.jobs.removeValue(forKey: handle) }) else {
            throw .invalidHandle(handle)
        }
        return job
    }
}

/// Texts in memory of malloc's, remembered by their places: what is no such text is not freed.
final class Texts: Sendable {
    private let places = Mutex<Set<UInt>>([])

    /// - Returns: nil where there is no memory.
    func make(_ text: String) -> UnsafeMutablePointer<CChar>? {
        guard let copy = strdup(text) else { return nil }
        places.withLock { _ = $0.insert(UInt(bitPattern: copy)) }
        return copy
    }

    func release(_ text: UnsafeMutablePointer<CChar>) {
        let isOurs = places.withLock { $0.remove(UInt(bitPattern: text)) != nil }
        if isOurs { free(text) }
    }
}

/// The process that has loaded a model: a child that it forks later has none of its threads, and would wait for them for
/// ever.
enum ModelProcess {
    private static let id = Atomic<pid_t>(0)

    /// Whether this is a child of that process.
    static var isForked: Bool {
        let loaded = id.load(ordering: .relaxed)
        return loaded != 0 && loaded != getpid()
    }

    static func claim() {
        _ = id.compareExchange(expected: 0, desired: getpid(), ordering: .relaxed)
    }
}

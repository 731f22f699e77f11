internal import CKernels
internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Threads that share the tasks of one job at a time.
///
/// The calling thread takes part as thread 0; `threads - 1` workers spin for a moment after each job, because
/// the next one usually follows within microseconds, and then sleep. Tasks are handed out in ascending order
/// to whoever is free, so results may depend on the task number but never on the thread number. Jobs from
/// several callers run one after the other. A task must not start a job on the same pool.
package final class ThreadPool: Sendable {
    /// Threads that work on a job, the caller included.
    package let threads: Int
    private let job: Job
    private let workers: [Worker]

    /// Threads that one may ask for: more than a machine has cores only use up its memory.
    package static let possibleThreads = 1...512

    /// Bytes that a process needs beside its threads even for the smallest model.
    private static let roomBesideThreads = 32 << 20
    private static let usualStack = 8 << 20

    /// - Parameters:
    ///   - threads: at least 1, the calling thread included.
    ///   - acceptsFewer: whether fewer will do where the system grants no more.
    /// - Throws: `TensorError.threadsRefused`, `.noRoomBesideThreads`, `.allocationFailed`.
    package init(threads: Int, acceptsFewer: Bool = false) throws(TensorError) {
        let threads = max(threads, 1)
        let job = try Job(threads: threads)
        var workers: [Worker] = []
        for index in 1..<threads {
            // Until there is hardly any room: the runtime's other threads allocate meanwhile.
            guard SystemMemory.hasRoom(for: Self.roomBesideThreads + Self.usualStack),
                let worker = Worker(job: job, thread: index)
            else { break }
            workers.append(worker)
        }
        guard workers.count == threads - 1 || acceptsFewer else {
            Self.end(job, workers)
            throw .threadsRefused(requested: threads, started: workers.count + 1)
        }
        guard SystemMemory.hasRoom(for: Self.roomBesideThreads) else {
            Self.end(job, workers)
            throw .noRoomBesideThreads(threads: workers.count + 1)
        }
        self.threads = workers.count + 1
        self.job = job
        self.workers = workers
    }

    deinit { Self.end(job, workers) }

    private static func end(_ job: Job, _ workers: [Worker]) {
        job.stop()
        for worker in workers { worker.join() }
    }

    /// Runs `body` once for each task in `0..<tasks` and returns when all have ended.
    package func run(_ tasks: Int, _ body: (_ task: Int, _ thread: Int) -> Void) {
        // What the pool has from its beginning is enough.
        _ = run(tasks, scratchBytes: 0) { task, thread, _ in body(task, thread) }
    }

    /// The same, with uninitialised 64-byte aligned memory that belongs to the running thread until its task
    /// ends. The pool keeps it for the next job. Where the system has memory for some threads only, only these work.
    /// - Returns: false where it has none for any; then no task has run.
    package func run(
        _ tasks: Int, scratchBytes: Int,
        _ body: (_ task: Int, _ thread: Int, _ scratch: UnsafeMutableRawPointer) -> Void
    ) -> Bool {
        withoutActuallyEscaping(body) { body in
            run(tasks, scratchBytes: scratchBytes, with: body) { $0($1, $2, $3) }
        }
    }

    /// The same for the layers of a model, where a closure that captures would cost an allocation per job: `body`
    /// captures nothing and is given `context` instead.
    package func run<Context>(
        _ tasks: Int, scratchBytes: Int = 0, with context: Context,
        _ body:
            @escaping (
                _ context: Context, _ task: Int, _ thread: Int, _ scratch: UnsafeMutableRawPointer
            ) -> Void
    ) -> Bool {
        guard tasks > 0 else { return true }
        return withUnsafePointer(to: TaskBody(context: context, body: body)) { pointer in
            job.run(
                tasks, scratchBytes: scratchBytes, alone: tasks == 1 || workers.isEmpty,
                TaskBody<Context>.self, pointer)
        }
    }
}

/// What a job does, behind a pointer to where it stands on the caller's stack: the caller waits until every task has
/// ended.
private protocol AnyTaskBody {
    static func run(
        _ body: UnsafeRawPointer, task: Int, thread: Int, scratch: UnsafeMutableRawPointer)
}

private struct TaskBody<Context>: AnyTaskBody {
    let context: Context
    let body: (Context, Int, Int, UnsafeMutableRawPointer) -> Void

    static func run(
        _ body: UnsafeRawPointer, task: Int, thread: Int, scratch: UnsafeMutableRawPointer
    ) {
        let own = body.assumingMemoryBound(to: Self.self)
        own.pointee.body(own.pointee.context, task, thread, scratch)
    }
}

/// The one job that a pool works on, and the means to announce it.
///
/// `gate` holds the job's number (upper bits), whether it may still be joined (bit 16) and how many workers
/// are inside (lower 16 bits). A worker joins with one compare-and-exchange; the caller closes the gate once
/// the tasks have run out and waits only for those inside, so that a worker that the system has not scheduled
/// does not hold anybody up. `type`, `body`, `tasks`, `scratch` and `needed` are written only while the gate is closed
/// and nobody is inside, and read only by those inside: that makes `@unchecked Sendable` true.
private final class Job: @unchecked Sendable {
    private static let open = 1 << 16
    private static let nextJob = 1 << 17
    /// About 20 to 50 microseconds.
    private static let spins = 2000

    private let gate = Atomic<Int>(0)
    private let next = Atomic<Int>(0)
    private let sleepers = Atomic<Int>(0)
    private let stopped = Atomic<Bool>(false)
    private let oneAtATime = SystemMutex()
    private let sleep = SystemMutex()
    private let wake = SystemCondition()
    private var type: (any AnyTaskBody.Type)?
    private var body: UnsafeRawPointer?
    private var tasks = 0
    /// Of each thread; those with less than `needed` bytes take no part.
    private var scratch: [Scratch]
    private var needed = 0

    private struct Scratch {
        var base: UnsafeMutableRawPointer?
        var count = 0
    }

    /// - Throws: `TensorError.allocationFailed`.
    init(threads: Int) throws(TensorError) {
        scratch = Array(repeating: Scratch(), count: threads)
        guard reserve(Storage.alignment, all: true) else {
            throw .allocationFailed(bytes: Storage.alignment)
        }
    }

    deinit {
        for block in scratch { free(block.base) }
    }

    /// - Parameter body: points to a value of `type`
    /// - Returns: false where there is no memory; then no task has run.
    func run(
        _ tasks: Int, scratchBytes: Int, alone: Bool, _ type: any AnyTaskBody.Type, _ body: UnsafeRawPointer
    ) -> Bool {
        oneAtATime.lock()
        defer { oneAtATime.unlock() }
        guard reserve(scratchBytes, all: !alone), let memory = scratch[0].base else { return false }
        if alone {
            for task in 0..<tasks { type.run(body, task: task, thread: 0, scratch: memory) }
            return true
        }
        self.type = type
        self.body = body
        self.tasks = tasks
        next.store(0, ordering: .relaxed)
        gate.store(
            (gate.load(ordering: .relaxed) & ~(Self.nextJob - 1)) + Self.nextJob + Self.open,
            ordering: .sequentiallyConsistent)
        if sleepers.load(ordering: .sequentiallyConsistent) > 0 {
            sleep.lock()
            wake.broadcast()
            sleep.unlock()
        }
        work(thread: 0)
        var state = gate.bitwiseAnd(~Self.open, ordering: .acquiringAndReleasing).newValue
        var turns = 0
        while state & (Self.open - 1) != 0 {
            fv_cpu_pause()
            turns += 1
            if turns > Self.spins { sched_yield() }
            state = gate.load(ordering: .acquiring)
        }
        self.body = nil
        return true
    }

    private func work(thread: Int) {
        guard let type, let body, let memory = scratch[thread].base, scratch[thread].count >= needed
        else { return }
        while true {
            let task = next.wrappingAdd(1, ordering: .relaxed).oldValue
            if task >= tasks { return }
            type.run(body, task: task, thread: thread, scratch: memory)
        }
    }

    /// A worker's life.
    func serve(thread: Int) {
        var last = 0
        while !stopped.load(ordering: .acquiring) {
            let state = gate.load(ordering: .acquiring)
            let number = state / Self.nextJob
            if number != last, state & Self.open != 0 {
                let (joined, _) = gate.weakCompareExchange(
                    expected: state, desired: state + 1, ordering: .acquiringAndReleasing)
                if !joined { continue }
                work(thread: thread)
                gate.wrappingSubtract(1, ordering: .releasing)
                last = number
            } else {
                last = number
                rest(afterJob: last)
            }
        }
    }

    private func rest(afterJob last: Int) {
        for _ in 0..<Self.spins {
            if gate.load(ordering: .relaxed) / Self.nextJob != last { return }
            if stopped.load(ordering: .relaxed) { return }
            fv_cpu_pause()
        }
        sleep.lock()
        sleepers.wrappingAdd(1, ordering: .sequentiallyConsistent)
        while gate.load(ordering: .sequentiallyConsistent) / Self.nextJob == last,
            !stopped.load(ordering: .sequentiallyConsistent)
        {
            wake.wait(sleep)
        }
        sleepers.wrappingSubtract(1, ordering: .sequentiallyConsistent)
        sleep.unlock()
    }

    func stop() {
        stopped.store(true, ordering: .sequentiallyConsistent)
        sleep.lock()
        wake.broadcast()
        sleep.unlock()
    }

    /// Brings the memory of all threads, or of the caller alone, to `bytes`. Nobody is inside when this is called.
    /// - Returns: whether the caller has as much: that is enough for a job.
    private func reserve(_ bytes: Int, all: Bool) -> Bool {
        needed = bytes
        for index in 0..<(all ? scratch.count : 1) where scratch[index].count < bytes {
            guard let base = SystemMemory.allocate(bytes) else { break }
            free(scratch[index].base)
            scratch[index] = Scratch(base: base, count: bytes)
        }
        return scratch[0].count >= bytes
    }
}

/// One thread of the system.
private final class Worker: @unchecked Sendable {
    private final class Start {
        let job: Job
        let thread: Int

        init(job: Job, thread: Int) {
            self.job = job
            self.thread = thread
        }
    }

    #if os(Linux)
        private var handle = pthread_t()
    #else
        private var handle: pthread_t?
    #endif

    /// Bytes of a thread's stack: kernels keep a few KiB there, and a system that lends each thread 8 MiB, as is usual,
    /// has none left for many.
    private static let stackBytes = 512 << 10

    /// Nil when the system grants no thread.
    init?(job: Job, thread: Int) {
        let attributes = UnsafeMutablePointer<pthread_attr_t>.allocate(capacity: 1)
        defer { attributes.deallocate() }
        guard pthread_attr_init(attributes) == 0 else { return nil }
        defer { pthread_attr_destroy(attributes) }
        pthread_attr_setstacksize(attributes, Self.stackBytes)
        let start = Unmanaged.passRetained(Start(job: job, thread: thread))
        let result = pthread_create(
            &handle, attributes,
            { argument in
                #if os(Linux)
                    guard let argument else { return nil }
                #endif
                let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                start.job.serve(thread: start.thread)
                return nil
            }, start.toOpaque())
        guard result == 0 else {
            start.release()
            return nil
        }
    }

    func join() {
        #if os(Linux)
            pthread_join(handle, nil)
        #else
            if let handle { pthread_join(handle, nil) }
        #endif
    }
}

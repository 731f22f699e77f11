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

    /// - Parameter threads: at least 1, the calling thread included. Where the system grants fewer, fewer
    ///   run.
    package init(threads: Int) {
        let job = Job(threads: max(threads, 1))
        var workers: [Worker] = []
        for index in 1..<max(threads, 1) {
            guard let worker = Worker(job: job, thread: index) else { break }
            workers.append(worker)
        }
        self.threads = workers.count + 1
        self.job = job
        self.workers = workers
    }

    deinit {
        job.stop()
        for worker in workers { worker.join() }
    }

    /// Runs `body` once for each task in `0..<tasks` and returns when all have ended.
    package func run(_ tasks: Int, _ body: (_ task: Int, _ thread: Int) -> Void) {
        run(tasks, scratchBytes: 0) { task, thread, _ in body(task, thread) }
    }

    /// The same, with uninitialised 64-byte aligned memory that belongs to the running thread until its task
    /// ends. The pool keeps it for the next job.
    package func run(
        _ tasks: Int, scratchBytes: Int,
        _ body: (_ task: Int, _ thread: Int, _ scratch: UnsafeMutableRawPointer) -> Void
    ) {
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
    ) {
        guard tasks > 0 else { return }
        withUnsafePointer(to: TaskBody(context: context, body: body)) { pointer in
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
/// does not hold anybody up. `type`, `body`, `tasks` and `scratch` are written only while the gate is closed and
/// nobody is inside, and read only by those inside: that makes `@unchecked Sendable` true.
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
    private var scratch: [UnsafeMutableRawPointer?]
    private var scratchBytes = 0

    init(threads: Int) {
        scratch = Array(repeating: nil, count: threads)
    }

    deinit {
        for pointer in scratch { free(pointer) }
    }

    /// - Parameter body: points to a value of `type`
    func run(
        _ tasks: Int, scratchBytes: Int, alone: Bool, _ type: any AnyTaskBody.Type, _ body: UnsafeRawPointer
    ) {
        oneAtATime.lock()
        defer { oneAtATime.unlock() }
        reserve(max(scratchBytes, Storage.alignment))
        if alone {
            guard let memory = scratch[0] else { return }
            for task in 0..<tasks { type.run(body, task: task, thread: 0, scratch: memory) }
            return
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
    }

    private func work(thread: Int) {
        guard let type, let body, let memory = scratch[thread] else { return }
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

    /// Nobody is inside when this is called. A block that cannot be had ends the program: it is a few MiB,
    /// and operations have no way to fail.
    private func reserve(_ bytes: Int) {
        guard bytes > scratchBytes else { return }
        for index in scratch.indices {
            free(scratch[index])
            scratch[index] = nil
            let result = posix_memalign(&scratch[index], Storage.alignment, bytes)
            precondition(result == 0, "no memory for a thread's scratch of \(bytes) bytes")
        }
        scratchBytes = bytes
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

    /// Nil when the system grants no thread.
    init?(job: Job, thread: Int) {
        let start = Unmanaged.passRetained(Start(job: job, thread: thread))
        let result = pthread_create(
            &handle, nil,
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

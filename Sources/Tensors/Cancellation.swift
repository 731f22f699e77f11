internal import Dispatch
internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// A flag that one thread raises and others look at between operations.
package final class Cancellation: Sendable {
    private let flag = Atomic<Bool>(false)

    package init() {}

    package func cancel() { flag.store(true, ordering: .relaxed) }
    package var isCancelled: Bool { flag.load(ordering: .relaxed) }

    /// - Throws: `CancellationError` once the flag is raised.
    package func check() throws {
        if isCancelled { throw CancellationError() }
    }
}

/// Runs work that computes or waits for seconds on a thread that tasks do not share.
/// - Parameter work: its argument is raised when the calling task is cancelled.
package func offTaskThreads<Value: Sendable>(
    _ work: @escaping @Sendable (Cancellation) throws -> Value
) async throws -> Value {
    try requireFiles()
    let cancellation = Cancellation()
    return try await withTaskCancellationHandler {
        try await withCheckedThrowingContinuation { done in
            DispatchQueue.global().async { done.resume(with: Result { try work(cancellation) }) }
        }
    } onCancel: {
        cancellation.cancel()
    }
}

/// Runs work that may wait for somebody else, such as the writer of a pipe or a file server, on a thread of its own.
///
/// Unlike ``offTaskThreads(_:)`` this ends as soon as the calling task is cancelled. The thread goes on until it looks
/// at its argument or the system lets go of it; what it returns then is dropped.
/// - Throws: what `work` throws; `CancellationError`.
package func onOwnThread<Value: Sendable>(
    _ work: @escaping @Sendable (Cancellation) throws -> Value
) async throws -> Value {
    let cancellation = Cancellation()
    let result = FirstResult<Value>()
    return try await withTaskCancellationHandler {
        try await withCheckedThrowingContinuation { continuation in
            guard result.isAwaited(by: continuation) else { return }
            startThread { result.settle(Result { try work(cancellation) }) }
        }
    } onCancel: {
        cancellation.cancel()
        result.settle(.failure(CancellationError()))
    }
}

/// Hands the first of several results to whoever awaits it.
private final class FirstResult<Value: Sendable>: Sendable {
    private enum State {
        case open
        case awaited(CheckedContinuation<Value, any Error>)
        case settled(Result<Value, any Error>)
    }

    private let state = Mutex(State.open)

    /// - Returns: false when there is a result already, which the continuation then has.
    func isAwaited(by continuation: CheckedContinuation<Value, any Error>) -> Bool {
        let early: Result<Value, any Error>? = state.withLock { state in
            if case .settled(let result) = state { return result }
            state = .awaited(continuation)
            return nil
        }
        early.map { continuation.resume(with: $0) }
        return early == nil
    }

    func settle(_ result: Result<Value, any Error>) {
        let waiting: CheckedContinuation<Value, any Error>? = state.withLock { state in
            switch state {
            case .open:
                state = .settled(result)
                return nil
            case .awaited(let continuation):
                state = .settled(result)
                return continuation
            case .settled: return nil
            }
        }
        waiting?.resume(with: result)
    }
}

/// Starts a thread that nobody joins; where the system grants none, the work waits for one of those that are shared.
private func startThread(_ body: @escaping @Sendable () -> Void) {
    final class Start {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    let start = Unmanaged.passRetained(Start(body))
    #if os(Linux)
        var handle = pthread_t()
    #else
        var handle: pthread_t?
    #endif
    let status = pthread_create(
        &handle, nil,
        { argument in
            #if os(Linux)
                guard let argument else { return nil }
            #endif
            Unmanaged<Start>.fromOpaque(argument).takeRetainedValue().body()
            return nil
        }, start.toOpaque())
    guard status == 0 else {
        start.release()
        DispatchQueue.global().async(execute: body)
        return
    }
    #if os(Linux)
        pthread_detach(handle)
    #else
        if let handle { pthread_detach(handle) }
    #endif
}

internal import Dispatch
internal import Synchronization

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
/// - Parameter work: is told by its argument that the calling task has been cancelled.
package func offTaskThreads<Value: Sendable>(
    _ work: @escaping @Sendable (Cancellation) throws -> Value
) async throws -> Value {
    let cancellation = Cancellation()
    return try await withTaskCancellationHandler {
        try await withCheckedThrowingContinuation { done in
            DispatchQueue.global().async { done.resume(with: Result { try work(cancellation) }) }
        }
    } onCancel: {
        cancellation.cancel()
    }
}

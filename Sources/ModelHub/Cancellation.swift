internal import Dispatch
internal import Synchronization

/// A flag that work on other threads looks at.
package final class Cancellation: Sendable {
    private let flag = Atomic<Bool>(false)

    package init() {}

    package var isCancelled: Bool { flag.load(ordering: .relaxed) }
    package func cancel() { flag.store(true, ordering: .relaxed) }

    /// - Throws: `CancellationError`.
    func check() throws { if isCancelled { throw CancellationError() } }

    /// Runs work that waits for the network and the disk, which the threads of tasks must not, on one of its own.
    /// - Throws: what `work` throws; it is told when the task is cancelled.
    package static func onThread<Value: Sendable>(
        _ work: @escaping @Sendable (Cancellation) throws -> Value
    ) async throws -> Value {
        let cancellation = Cancellation()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                DispatchQueue.global().async { continuation.resume(with: Result { try work(cancellation) }) }
            }
        } onCancel: {
            cancellation.cancel()
        }
    }
}

internal import FastVLM
internal import Synchronization

/// Keeps the events of a request's answers back until all of the answers are admitted and one is worked on: until then what
/// is wrong with the request has a status of its own.
final class EventGate: Sendable {
    private struct State {
        /// Answers of which nothing is known yet.
        var unknown: Set<Int>
        var isWorkedOn = false
        var held: [IndexedEvent] = []
    }

    private let state: Mutex<State>
    private let continuation: AsyncThrowingStream<IndexedEvent, any Error>.Continuation

    init(_ count: Int, _ continuation: AsyncThrowingStream<IndexedEvent, any Error>.Continuation) {
        state = Mutex(State(unknown: Set(0..<count)))
        self.continuation = continuation
    }

    func pass(_ event: IndexedEvent) {
        // Under the lock, so that they come in their order.
        state.withLock { state in
            state.unknown.remove(event.index)
            // Whoever has a place in the queue is admitted.
            if case .queued = event.event { return open(&state) }
            state.isWorkedOn = true
            state.held.append(event)
            open(&state)
        }
    }

    private func open(_ state: inout State) {
        guard state.isWorkedOn, state.unknown.isEmpty else { return }
        for event in state.held { continuation.yield(event) }
        state.held = []
    }
}

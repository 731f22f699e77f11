internal import Dispatch
internal import Synchronization

/// Shares out an amount of something (bytes, processors, a turn) by priority, and in the order in which it is asked for
/// (``LineOrder``).
///
/// Whoever asks for more than there is gets all of it, once nobody else has any. Nobody may wait for a second claim
/// on the same semaphore while holding one that was waited for: two of them could wait for each other for ever. What
/// was taken without waiting holds nobody up for ever: one claim that waits is granted beside it, however much it is.
final class WeightedSemaphore: Sendable {
    private struct Waiting {
        let id: Int
        let amount: Int
        let priority: Int
        var continuation: CheckedContinuation<Void, any Error>?
        /// Receives its place in the line, from 1, whenever that changes.
        var moved: (@Sendable (Int) -> Void)?
        var told: Int?
    }

    private struct State {
        var free: Int
        var nextID = 0
        /// In the order in which they came.
        var line: [Waiting] = []
        var order = LineOrder()
        /// Amounts by id.
        var granted: [Int: Int] = [:]
        /// Of those, the ones that came from the line and are not 0.
        var fromLine: Set<Int> = []

        mutating func newID() -> Int {
            defer { nextID += 1 }
            return nextID
        }

        mutating func grant(_ id: Int, _ amount: Int) {
            free -= amount
            granted[id] = amount
        }

        /// Grants what can be granted, as long as it is the turn of one that can have its amount.
        mutating func admit() -> [CheckedContinuation<Void, any Error>] {
            var admitted: [CheckedContinuation<Void, any Error>] = []
            while let place = order.next(line.lazy.map(\.priority)) {
                let next = line[place]
                guard next.amount <= free || fromLine.isEmpty else { break }
                line.remove(at: place)
                order.serve(place)
                grant(next.id, next.amount)
                if next.amount > 0 { fromLine.insert(next.id) }
                if let continuation = next.continuation { admitted.append(continuation) }
            }
            return admitted
        }

        mutating func admitAndTell() -> [CheckedContinuation<Void, any Error>] {
            let admitted = admit()
            tell()
            return admitted
        }

        /// Tells those whose place has changed where it is. Within the lock, so that nobody hears of two changes in the
        /// wrong order.
        mutating func tell() {
            guard line.contains(where: { $0.moved != nil }) else { return }
            for (index, place) in order.all(line.map(\.priority)).enumerated()
            where line[place].told != index + 1 {
                line[place].told = index + 1
                line[place].moved?(index + 1)
            }
        }
    }

    /// A place in the line, later a part of the amount, until it is released.
    struct Claim: Sendable {
        fileprivate let semaphore: WeightedSemaphore
        fileprivate let id: Int

        /// Waits until the claim is granted.
        /// - Throws: `CancellationError` when the task is cancelled before that; the place in the line is then given up.
        func granted() async throws { try await semaphore.wait(id) }

        /// Takes more of it at once, where there is as much or nobody else has any.
        func grow(by amount: Int) -> Bool { semaphore.grow(id, by: amount) }

        /// Gives back what goes beyond an amount.
        func reduce(to amount: Int) { semaphore.reduce(id, to: amount) }

        /// Gives everything back; again, it does nothing.
        func release() { semaphore.release(id) }
    }

    private static let leaving = DispatchQueue(label: "fastvlm.leaving", qos: .userInitiated)

    private let total: Int
    private let state: Mutex<State>

    init(_ total: Int) {
        self.total = total
        state = Mutex(State(free: total))
    }

    /// What nobody has.
    var free: Int { state.withLock { $0.free } }
    /// What somebody has.
    var taken: Int { total - free }
    /// How many wait.
    var waiting: Int { state.withLock { $0.line.count } }

    /// Joins the line at once, so that among equals the order of calls is the order of grants.
    /// - Parameters:
    ///   - priority: higher goes first
    ///   - moved: receives the place in the line, 1 for the next one, at once and whenever it changes, if there is one to
    ///     wait in. Must not use the semaphore.
    func join(
        _ amount: Int = 1, priority: Int = 0, moved: (@Sendable (Int) -> Void)? = nil
    ) -> Claim {
        let id = state.withLock { state in
            let id = state.newID()
            state.line.append(
                Waiting(id: id, amount: min(max(amount, 0), total), priority: priority, moved: moved))
            // Whoever could be granted before has been: only the new one may be, and it does not wait yet.
            _ = state.admitAndTell()
            return id
        }
        return Claim(semaphore: self, id: id)
    }

    /// Takes an amount at once and past the line; more than there is counts as all of it.
    /// - Returns: nil where there is not as much.
    func take(_ amount: Int) -> Claim? {
        state.withLock { state -> Claim? in
            let amount = min(max(amount, 0), total)
            guard amount == 0 || amount <= state.free else { return nil }
            let id = state.newID()
            state.grant(id, amount)
            return Claim(semaphore: self, id: id)
        }
    }

    private func grow(_ id: Int, by amount: Int) -> Bool {
        state.withLock { state in
            guard amount > 0 else { return true }
            guard let had = state.granted[id], amount <= state.free || had == total - state.free else {
                return false
            }
            state.free -= amount
            state.granted[id] = had + amount
            return true
        }
    }

    private func wait(_ id: Int) async throws {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let result: Result<Void, any Error>? = state.withLock { state in
                    if state.granted[id] != nil { return .success(()) }
                    guard let place = state.line.firstIndex(where: { $0.id == id }) else {
                        return .failure(CancellationError())
                    }
                    state.line[place].continuation = continuation
                    return nil
                }
                if let result { continuation.resume(with: result) }
            }
        } onCancel: {
            // Whoever cancels holds locks of the task and of its reader, which telling others of their places may wait for
            // with the semaphore's lock held. So this one is taken on another thread.
            Self.leaving.async { self.leaveLine(id) }
        }
    }

    /// What has been granted stays granted.
    private func leaveLine(_ id: Int) {
        typealias Continuation = CheckedContinuation<Void, any Error>
        let (left, admitted): (Continuation?, [Continuation]) = state.withLock { state in
            guard let place = state.line.firstIndex(where: { $0.id == id }) else { return (nil, []) }
            let left = state.line.remove(at: place).continuation
            return (left, state.admitAndTell())
        }
        left?.resume(throwing: CancellationError())
        for continuation in admitted { continuation.resume() }
    }

    private func reduce(_ id: Int, to amount: Int) {
        let admitted: [CheckedContinuation<Void, any Error>] = state.withLock { state in
            guard let had = state.granted[id], amount < had else { return [] }
            state.granted[id] = max(amount, 0)
            state.free += had - max(amount, 0)
            return state.admitAndTell()
        }
        for continuation in admitted { continuation.resume() }
    }

    private func release(_ id: Int) {
        leaveLine(id)
        let admitted: [CheckedContinuation<Void, any Error>] = state.withLock { state in
            guard let had = state.granted.removeValue(forKey: id) else { return [] }
            state.free += had
            state.fromLine.remove(id)
            return state.admitAndTell()
        }
        for continuation in admitted { continuation.resume() }
    }
}

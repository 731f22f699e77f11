import Foundation
import Synchronization
import Testing

@testable import FastVLM

@Suite("What requests share is given in order", .timeLimit(.minutes(10)))
struct WeightedSemaphoreTests {
    /// Waits in a task of its own, and notes its number when it is granted.
    private func waiter(_ claim: WeightedSemaphore.Claim, _ number: Int, _ log: Log) -> Task<Void, any Error>
    {
        Task {
            try await claim.granted()
            log.numbers.withLock { $0.append(number) }
        }
    }

    private final class Log: Sendable {
        let numbers = Mutex([Int]())
        var all: [Int] { numbers.withLock { $0 } }
    }

    @Test("Claims are granted in the order in which they joined, not in that in which they are waited for")
    func order() async throws {
        let semaphore = WeightedSemaphore(10)
        let log = Log()
        let first = semaphore.join(6)
        try await first.granted()
        let large = semaphore.join(5)
        let small = semaphore.join(1)
        // The small one would fit, but then a large one could wait for ever.
        let last = waiter(small, 2, log)
        #expect(semaphore.waiting == 2 && semaphore.free == 4)
        first.reduce(to: 5)
        try await waiter(large, 1, log).value
        #expect(log.all == [1] && semaphore.free == 0 && semaphore.waiting == 1)
        large.release()
        try await last.value
        #expect(log.all == [1, 2] && semaphore.free == 4)
        for claim in [first, large, small, first] { claim.release() }
        #expect(semaphore.free == 10)
    }

    @Test("More than there is at all is granted once nobody has any")
    func tooMuch() async throws {
        let semaphore = WeightedSemaphore(3)
        let first = semaphore.join(1)
        let all = semaphore.join(1 << 40)
        #expect(semaphore.waiting == 1)
        first.release()
        try await all.granted()
        #expect(semaphore.free == 0)
        all.release()
        #expect(semaphore.free == 3)
    }

    @Test("What is taken without waiting goes past the line, and lets one of the line through beside it")
    func taken() async throws {
        let semaphore = WeightedSemaphore(10)
        let given = try #require(semaphore.take(6))
        #expect(semaphore.take(5) == nil && semaphore.taken == 6)
        // Nobody of the line has any, so that the first one of it is granted; the second one waits.
        let (first, second) = (semaphore.join(7), semaphore.join(1))
        try await first.granted()
        #expect(semaphore.taken == 13 && semaphore.waiting == 1)
        let nothing = try #require(semaphore.take(0))
        #expect(semaphore.take(1) == nil && !given.grow(by: 1) && given.grow(by: 0))
        given.release()
        try await second.granted()
        #expect(semaphore.free == 2)
        for claim in [first, second, nothing] { claim.release() }
        // Alone, more than there is.
        let all = try #require(semaphore.take(1 << 40))
        #expect(semaphore.free == 0 && all.grow(by: 5) && semaphore.take(1) == nil)
        all.release()
        #expect(semaphore.free == 10)
    }

    @Test("Whoever is cancelled leaves the line at once, and those behind move up")
    func cancellation() async throws {
        let semaphore = WeightedSemaphore(2)
        let first = semaphore.join(1)
        let large = semaphore.join(2)
        let small = semaphore.join(1)
        let waiting = Task { try await large.granted() }
        waiting.cancel()
        await #expect(throws: CancellationError.self) { try await waiting.value }
        try await small.granted()
        #expect(semaphore.free == 0 && semaphore.waiting == 0)
        // A place that was given up is not granted later.
        await #expect(throws: CancellationError.self) { try await large.granted() }
        // One that was released before it was waited for neither.
        let unused = semaphore.join(1)
        unused.release()
        await #expect(throws: CancellationError.self) { try await unused.granted() }
        first.release()
        small.release()
        #expect(semaphore.free == 2)
    }

    @Test("What has been granted stays granted when its task is cancelled")
    func grantedStays() async throws {
        let semaphore = WeightedSemaphore(1)
        let claim = semaphore.join()
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            try await claim.granted()
        }
        try await task.value
        #expect(semaphore.free == 0)
    }

    /// Telling takes the lock of the reader's task, and cancelling that task holds it.
    @Test("Readers who are told their place and leave at the same time wait for nobody")
    func toldAndLeaving() async throws {
        let semaphore = WeightedSemaphore(2)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for worker in 0..<16 {
                group.addTask {
                    for round in 0..<400 {
                        let stream: AsyncThrowingStream<Int, any Error> = abandonable { _, yield in
                            let claim = semaphore.join { yield($0) }
                            defer { claim.release() }
                            try await claim.granted()
                            for number in 0..<3 {
                                await Task.yield()
                                yield(-number)
                            }
                        }
                        let reader = Task { for try await _ in stream {} }
                        for _ in 0..<(worker + round) % 7 { await Task.yield() }
                        if (worker + round) % 3 > 0 { reader.cancel() }
                        do {
                            try await reader.value
                        } catch is CancellationError {
                            // The stream may tell of its end before its reader has left.
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        // Those that were cancelled give their claims back in their own time.
        while semaphore.free < 2 { try await Task.sleep(for: .milliseconds(1)) }
        #expect(semaphore.waiting == 0)
    }

    @Test("Many tasks at once never have more than there is")
    func contention() async throws {
        let semaphore = WeightedSemaphore(5)
        let (held, most) = (Log(), Log())
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<200 {
                group.addTask {
                    let claim = semaphore.join(1 + number % 5)
                    defer { claim.release() }
                    do {
                        if number % 7 == 0 { withUnsafeCurrentTask { $0?.cancel() } }
                        try await claim.granted()
                    } catch is CancellationError { return }
                    let now = held.numbers.withLock { held in
                        held.append(1 + number % 5)
                        return held.reduce(0, +)
                    }
                    most.numbers.withLock { $0.append(now) }
                    await Task.yield()
                    held.numbers.withLock { $0.append(-1 - number % 5) }
                }
            }
            try await group.waitForAll()
        }
        #expect(most.all.allSatisfy { $0 <= 5 } && most.all.count >= 200 - 29)
        #expect(semaphore.free == 5 && semaphore.waiting == 0)
    }
}

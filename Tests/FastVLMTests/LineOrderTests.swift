import Synchronization
import Testing

@testable import FastVLM

@Suite("Requests wait by priority", .timeLimit(.minutes(10)))
struct LineOrderTests {
    /// Serves a line until it is empty; `arrivals` come one before each turn.
    private func served(_ line: [Int], arrivals: [Int] = []) -> [(number: Int, priority: Int)] {
        var order = LineOrder()
        var waiting = line.enumerated().map { (number: $0.offset, priority: $0.element) }
        var arrivals = arrivals
        var served: [(number: Int, priority: Int)] = []
        while !waiting.isEmpty || !arrivals.isEmpty {
            if !arrivals.isEmpty {
                waiting.append((served.count + line.count, arrivals.removeFirst()))
            }
            let priorities = waiting.map(\.priority)
            let all = order.all(priorities)
            #expect(all.sorted() == Array(waiting.indices) && all.first == order.next(priorities))
            // What was told comes true if nobody else comes.
            if arrivals.isEmpty {
                var (copy, rest) = (order, Array(waiting.indices))
                for place in all {
                    guard let next = copy.next(rest.map { priorities[$0] }) else { break }
                    #expect(rest.remove(at: next) == place)
                    copy.serve(next)
                }
            }
            guard let place = order.next(priorities) else { break }
            order.serve(place)
            served.append(waiting.remove(at: place))
        }
        #expect(order.next([Int]()) == nil && order.all([]) == [])
        return served
    }

    @Test("The most urgent goes first, of equals the one that came first")
    func order() {
        #expect(served([0, 0, 0]).map(\.number) == [0, 1, 2])
        #expect(served([0, 5, -1, 5, .max, .min]).map(\.number) == [4, 1, 3, 0, 2, 5])
    }

    @Test("Whoever has waited longest has its turn after sixteen others, and the urgent lose no more by it")
    func patience() {
        let order = served([0, 0, 0], arrivals: [Int](repeating: 1, count: 100))
        #expect(order.enumerated().filter { $0.element.priority == 0 }.map(\.offset) == [16, 33, 50])
        #expect(order.filter { $0.priority == 0 }.map(\.number) == [0, 1, 2])
        let mixed = (0..<200).map { ($0 * 7919) % 5 - 2 }
        #expect(Set(served(mixed).map(\.number)).count == 200)
    }

    /// Places that requests were told, by their name.
    private final class Log: Sendable {
        let entries = Mutex([String: [Int]]())
        let ended = Mutex([String]())

        func positions(_ name: String) -> [Int] { entries.withLock { $0[name] ?? [] } }

        func wait(for expected: [String: [Int]]) async throws {
            while !entries.withLock({ entries in expected.allSatisfy { entries[$0.key] == $0.value } }) {
                try await Task.sleep(for: .milliseconds(1))
            }
        }
    }

    @Test("An urgent request overtakes those that wait, who are told; a late one leaves, who are told again")
    func overtaking() async throws {
        let model = try await load { $0.maximumRunning = 1 }
        let log = Log()
        func ask(_ name: String, priority: Int, limit: Duration? = nil) -> Task<Void, any Error> {
            var options = GenerationOptions()
            options.maximumTokens = 2
            options.priority = priority
            options.timeLimit = limit
            return Task { [options] in
                for try await event in model.events("\(name)?", options: options) {
                    if case .queued(let position) = event {
                        log.entries.withLock { $0[name, default: []].append(position) }
                    }
                }
                log.ended.withLock { $0.append(name) }
            }
        }
        var tasks: [Task<Void, any Error>] = []
        try await whileAnswering(model) {
            tasks.append(ask("first", priority: 0))
            try await log.wait(for: ["first": [1]])
            tasks.append(ask("second", priority: 0))
            try await log.wait(for: ["second": [2]])
            tasks.append(ask("urgent", priority: 1))
            try await log.wait(for: ["urgent": [1], "first": [1, 2], "second": [2, 3]])
            let late = ask("late", priority: 1, limit: .milliseconds(50))
            do {
                try await late.value
                Issue.record("answered")
            } catch { #expect((error as? FastVLMError)?.code == .deadlineExceeded) }
            #expect(log.positions("late") == [2])
            try await log.wait(for: ["urgent": [1], "first": [1, 2, 3, 2], "second": [2, 3, 4, 3]])
        }
        for task in tasks { try await task.value }
        #expect(log.ended.withLock { $0 } == ["urgent", "first", "second"])
        #expect(log.positions("second") == [2, 3, 4, 3, 2, 1])
    }
}

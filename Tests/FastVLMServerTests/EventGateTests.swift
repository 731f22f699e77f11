import FastVLM
import Foundation
import Logging
import Synchronization
import Testing

@testable import FastVLMServer

@Suite("The beginning of streams")
struct EventGateTests {
    private static func collected(_ count: Int, _ events: [IndexedEvent]) async throws -> [Int] {
        let (stream, continuation) = AsyncThrowingStream.makeStream(of: IndexedEvent.self)
        let gate = EventGate(count, continuation)
        for event in events { gate.pass(event) }
        continuation.finish()
        var seen: [Int] = []
        for try await event in stream {
            guard case .text(let text) = event.event, let number = Int(text) else { continue }
            seen.append(number)
        }
        return seen
    }

    private static func text(_ index: Int, _ number: Int) -> IndexedEvent {
        IndexedEvent(index: index, event: .text("\(number)"))
    }

    private static func queued(_ index: Int) -> IndexedEvent {
        IndexedEvent(index: index, event: .queued(position: 1))
    }

    @Test("Nothing passes before all answers are admitted and one is worked on, and then all in its order")
    func order() async throws {
        #expect(try await Self.collected(1, [Self.queued(0)]).isEmpty)
        #expect(try await Self.collected(1, [Self.queued(0), Self.text(0, 1), Self.text(0, 2)]) == [1, 2])
        #expect(try await Self.collected(2, [Self.text(0, 1), Self.text(0, 2)]).isEmpty)
        #expect(try await Self.collected(2, [Self.text(0, 1), Self.text(0, 2), Self.queued(1)]) == [1, 2])
        #expect(try await Self.collected(2, [Self.queued(0), Self.queued(1)]).isEmpty)
        #expect(
            try await Self.collected(2, [Self.text(1, 1), Self.text(0, 2), Self.text(1, 3)]) == [1, 2, 3])
    }

    @Test("A stream of several answers that are not all admitted has a status, and no beginning")
    func status() async throws {
        // One is worked on and one waits; there is no place for the other two.
        func small() -> FastVLMService {
            service { options in
                options.load.maximumRunning = 1
                options.load.maximumWaiting = 1
            }
        }
        let server = small()
        for _ in 0..<5 {
            let reply = await server.call(
                "POST", "/v1/chat/completions",
                try question("What is this?", "single-banana.jpg", #","stream":true,"n":4"#))
            #expect(reply.head.status == 429 && reply.pieces == 0)
        }
        // Another server: what was refused may still hold its places for a moment.
        let two = await small().call(
            "POST", "/v1/chat/completions",
            try question("What is this?", "single-banana.jpg", #","stream":true,"n":2"#))
        #expect(two.head.status == 200 && two.text.hasSuffix("data: [DONE]\n\n"))
    }

    @Test("A response that is cut off is logged as what it came to, and not as a success")
    func cutOff() async throws {
        let journal = ExchangeJournal()
        #expect(journal.status == 499 && journal.metadata()["status"] == "499")
        journal.begin(status: 200)
        #expect(journal.status == 200 && journal.metadata()["cut_off"] == nil)
        journal.cutOff(status: 504)
        #expect(journal.status == 504 && journal.hasBegun)
        #expect(journal.metadata()["status"] == "504" && journal.metadata()["cut_off"] == "true")
    }
}

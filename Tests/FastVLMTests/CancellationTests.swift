import Foundation
import Synchronization
import TestSupport
import Testing

@testable import FastVLM

/// How far a turn came shows in the conversation: before the first token of its answer it leaves no trace, later what was
/// answered stays.
@Suite("Work that nobody waits for any more ends")
struct CancellationTests {
    private let image = ImageSource.file(Fixture.url("models/images/image-0.png"))

    private func options(_ tokens: Int) -> GenerationOptions {
        var options = GenerationOptions()
        options.maximumTokens = tokens
        return options
    }

    /// Two conversations with one answered turn each.
    private func conversations(_ model: VisionLanguageModel) async throws -> (ChatSession, ChatSession) {
        let pair = (model.chat(), model.chat())
        for session in [pair.0, pair.1] {
            _ = try await session.answer("What is this?", images: [image], options: options(12))
        }
        return pair
    }

    private func expectEqual(_ undisturbed: ChatSession, _ disturbed: ChatSession) async throws {
        let expected = try await undisturbed.answer("And now?", options: options(12))
        let got = try await disturbed.answer("And now?", options: options(12))
        #expect(got.text == expected.text && got.usage.positions == expected.usage.positions)
    }

    /// So many tokens that an answer takes seconds.
    private let endless = 8000

    /// Held by a turn until its work is over.
    private final class Trace: Sendable {}

    private struct Work {
        weak var trace: Trace?
        var isOver: Bool { trace == nil }
    }

    private func endlessStream(
        _ session: ChatSession
    ) -> (stream: AsyncThrowingStream<AnswerEvent, any Error>, work: Work) {
        let trace = Trace()
        let turn = Turn(content: .question("Go on.", images: []), options: options(endless))
        let stream = session.answer(turn) { [trace] event in
            withExtendedLifetime(trace) { event }
        }
        return (stream, Work(trace: trace))
    }

    /// On a machine that lets this task wait for seconds an answer may end before it is left, which shows nothing: then
    /// again.
    /// - Parameter leave: returns the number of tokens that it saw, nil when the answer had ended.
    private func untilLeftInTime(_ leave: (ChatSession) async throws -> Int?) async throws {
        let model = try await load()
        for _ in 0..<20 {
            let (whole, disturbed) = try await conversations(model)
            guard let seen = try await leave(disturbed) else { continue }
            let got = try await disturbed.answer("And now?", options: options(12))
            // What a conversation has whose turn was answered by one token, and how many more the other one has.
            _ = try await whole.answer("Go on.", options: options(1))
            let least = try await whole.answer("And now?", options: options(12)).usage.positions
            let kept = 1 + got.usage.positions - least
            #expect(kept >= seen)
            let (same, _) = try await conversations(model)
            _ = try await same.answer("Go on.", options: options(kept))
            let expected = try await same.answer("And now?", options: options(12))
            return #expect(
                got.text == expected.text && got.usage.positions == expected.usage.positions)
        }
        Issue.record("every answer ended before it was left")
    }

    @Test("Cancelling the task in the middle of an answer")
    func middle() async throws {
        try await untilLeftInTime { session in
            let (stream, work) = endlessStream(session)
            let task = Task {
                var pieces = 0
                var isLate = false
                for try await event in stream where event.text != nil {
                    pieces += 1
                    if pieces == 3 {
                        isLate = work.isOver
                        withUnsafeCurrentTask { $0?.cancel() }
                    }
                }
                return (pieces, isLate)
            }
            let (pieces, isLate) = try await task.value
            #expect(pieces >= 3)
            return isLate ? nil : 3
        }
    }

    @Test("Leaving the loop over the pieces")
    func leaving() async throws {
        try await untilLeftInTime { session in
            let (stream, work) = endlessStream(session)
            for try await event in stream {
                if case .token = event { return work.isOver ? nil : 1 }
            }
            return nil
        }
    }

    @Test("A stream that nobody ever reads")
    func unread() async throws {
        let model = try await load()
        let (undisturbed, disturbed) = try await conversations(model)
        _ = disturbed.stream("Go on.", options: options(endless))
        try await expectEqual(undisturbed, disturbed)
    }

    /// Runs `body` while the engine is kept busy by an answer that goes on only afterwards. What waits for that answer,
    /// although it must not, waits until a minute has passed, which `isReleased` then shows.
    private func whileAnswering(
        _ model: VisionLanguageModel, in session: ChatSession? = nil,
        _ body: (_ isReleased: Flag) async throws -> Void
    ) async throws {
        let gate = DispatchSemaphore(value: 0)
        let isReleased = Flag()
        let (begun, begin) = AsyncStream.makeStream(of: Void.self)
        let turn = Turn(content: .question("Go on.", images: [image]), options: options(endless))
        // Called on the engine's thread.
        let stream = (session ?? model.chat()).answer(turn) { event in
            guard case .progress(.prefill, _) = event else { return event }
            begin.finish()
            gate.wait()
            gate.signal()
            return event
        }
        let task = Task { for try await _ in stream {} }
        for await _ in begun {}
        DispatchQueue.global().asyncAfter(deadline: .now() + 60) {
            isReleased.raise()
            gate.signal()
        }
        try await body(isReleased)
        task.cancel()
        gate.signal()
        try await task.value
    }

    /// Moments of a turn while it is worked on.
    enum Moment: CaseIterable { case encoding, prefilling, decoding, lastToken }

    @Test(
        "At any moment of its work: the conversation has what was said until then", arguments: Moment.allCases
    )
    func moments(moment: Moment) async throws {
        let model = try await load { $0.rememberedImages = 0 }
        let (same, disturbed) = try await conversations(model)
        let other = ImageSource.file(Fixture.url("models/images/image-1.png"))
        let tokens = Mutex(0)
        let (left, hasLeft) = (DispatchSemaphore(value: 0), Flag())
        let reader = Mutex<Task<Void, any Error>?>(nil)
        let turn = Turn(content: .question("Go on.", images: [other]), options: options(6))
        // Called on the engine's thread, which goes on when the reader has left: the step that runs is the last one.
        @Sendable func watch(_ event: AnswerEvent) -> AnswerEvent {
            if case .token = event { tokens.withLock { $0 += 1 } }
            let isNow =
                switch (moment, event) {
                case (.encoding, .progress(.encode, _)), (.prefilling, .progress(.prefill, _)): true
                case (.decoding, .token): tokens.withLock { $0 } == 3
                case (.lastToken, .token): tokens.withLock { $0 } == 6
                default: false
                }
            if isNow, !hasLeft.isRaised {
                hasLeft.raise()
                reader.withLock { $0?.cancel() }
                if left.wait(timeout: .now() + 60) == .timedOut { Issue.record("nobody left") }
            }
            return event
        }
        reader.withLock { reader in
            let stream = disturbed.answer(turn, watch)
            reader = Task {
                defer { left.signal() }
                for try await _ in stream {}
            }
        }
        _ = try? await reader.withLock { $0 }?.value
        let got = try await disturbed.answer("And now?", options: options(12))
        let kept = tokens.withLock { $0 }
        #expect(hasLeft.isRaised)
        switch moment {
        case .encoding: #expect(kept == 0)
        // The step that was running may have chosen a token.
        case .prefilling: #expect(kept <= 1)
        case .decoding: #expect(kept == 3)
        case .lastToken: #expect(kept == 6)
        }
        if kept > 0 { _ = try await same.answer("Go on.", images: [other], options: options(kept)) }
        let expected = try await same.answer("And now?", options: options(12))
        #expect(got.text == expected.text && got.usage.positions == expected.usage.positions)
    }

    private final class Flag: Sendable {
        private let value = Mutex(false)

        var isRaised: Bool { value.withLock { $0 } }
        func raise() { value.withLock { $0 = true } }
    }

    @Test("Cancelling an answer that waits for another conversation's")
    func waiting() async throws {
        let model = try await load()
        let (undisturbed, disturbed) = try await conversations(model)
        try await whileAnswering(model) { isReleased in
            let task = Task { try await disturbed.answer("Go on.", options: options(12)) }
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            #expect(!isReleased.isRaised)
        }
        try await expectEqual(undisturbed, disturbed)
    }

    @Test("Cancelling an image to encode that waits for an answer")
    func waitingEncode() async throws {
        let model = try await load()
        try await whileAnswering(model) { isReleased in
            let task = Task { try await model.encode(image) }
            try await Task.sleep(for: .milliseconds(20))
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            #expect(!isReleased.isRaised)
        }
    }

    @Test("Cancelling a turn that waits for the one before it in its conversation")
    func waitingTurn() async throws {
        let model = try await load()
        let (undisturbed, disturbed) = try await conversations(model)
        try await whileAnswering(model, in: disturbed) { isReleased in
            let task = Task { try await disturbed.answer("And then?", options: options(12)) }
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            #expect(!isReleased.isRaised)
        }
        try await expectEqual(undisturbed, disturbed)
    }
}

import FastVLM
import Foundation
import Synchronization
import TestSupport
import Testing

/// Whether a turn came to its end shows in the conversation: one that was broken off leaves it as it was.
@Suite("Work that nobody waits for any more ends")
struct CancellationTests {
    private let image = ImageSource.file(Fixture.url("models/images/image-0.png"))

    private func load() async throws -> VisionLanguageModel {
        var options = LoadOptions()
        options.precision = .float32
        return try await VisionLanguageModel(
            contentsOf: .directory(Fixture.url("models/tiny-hf")), options: options)
    }

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
        #expect(got.text == expected.text && got.usage == expected.usage)
    }

    /// So many tokens that an answer never ends before what a test does meanwhile.
    private let endless = 8000

    @Test("Cancelling the task in the middle of an answer")
    func middle() async throws {
        let model = try await load()
        let (undisturbed, disturbed) = try await conversations(model)
        let task = Task {
            var pieces = 0
            for try await piece in disturbed.stream("Go on.", options: options(endless)) {
                #expect(piece.answer == nil)
                pieces += 1
                if pieces == 3 { withUnsafeCurrentTask { $0?.cancel() } }
            }
            return pieces
        }
        #expect(try await task.value >= 3)
        try await expectEqual(undisturbed, disturbed)
    }

    @Test("Leaving the loop over the pieces")
    func leaving() async throws {
        let model = try await load()
        let (undisturbed, disturbed) = try await conversations(model)
        for try await piece in disturbed.stream("Go on.", options: options(endless)) where piece.token != nil
        {
            break
        }
        try await expectEqual(undisturbed, disturbed)
    }

    @Test("A stream that nobody ever reads")
    func unread() async throws {
        let model = try await load()
        let (undisturbed, disturbed) = try await conversations(model)
        _ = disturbed.stream("Go on.", options: options(endless))
        try await expectEqual(undisturbed, disturbed)
    }

    /// Starts an answer without end and cancels it when `body` is through.
    private func whileAnswering(
        _ model: VisionLanguageModel, in session: ChatSession? = nil,
        _ body: (Flag) async throws -> Void
    ) async throws {
        let hasEnded = Flag()
        let stream = (session ?? model.chat()).stream("Go on.", images: [image], options: options(endless))
        let (begun, begin) = AsyncStream.makeStream(of: Void.self)
        let task = Task {
            for try await _ in stream { begin.finish() }
            hasEnded.raise()
        }
        for await _ in begun {}
        defer { task.cancel() }
        try await body(hasEnded)
        task.cancel()
        try await task.value
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
        try await whileAnswering(model) { hasEnded in
            let task = Task { try await disturbed.answer("Go on.", options: options(12)) }
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            #expect(!hasEnded.isRaised)
        }
        try await expectEqual(undisturbed, disturbed)
    }

    @Test("Cancelling an image to encode that waits for an answer")
    func waitingEncode() async throws {
        let model = try await load()
        try await whileAnswering(model) { hasEnded in
            let task = Task { try await model.encode(image) }
            try await Task.sleep(for: .milliseconds(20))
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            #expect(!hasEnded.isRaised)
        }
    }

    @Test("Cancelling a turn that waits for the one before it in its conversation")
    func waitingTurn() async throws {
        let model = try await load()
        let (undisturbed, disturbed) = try await conversations(model)
        try await whileAnswering(model, in: disturbed) { hasEnded in
            let task = Task { try await disturbed.answer("And then?", options: options(12)) }
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            #expect(!hasEnded.isRaised)
        }
        try await expectEqual(undisturbed, disturbed)
    }
}

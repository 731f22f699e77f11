import Foundation
import TestSupport
import Testing

@testable import FastVLM

@Suite("Conversations as messages")
struct MessageTests {
    private let image = ImageSource.file(Fixture.url("models/images/image-0.png"))
    private let other = ImageSource.file(Fixture.url("models/images/image-1.png"))

    private var options: GenerationOptions {
        var options = GenerationOptions()
        options.maximumTokens = 12
        return options
    }

    @Test("A question as a message is the question as a string, with and without a system prompt")
    func question() async throws {
        let model = try await load()
        for system in [nil, "", "You answer in one word."] {
            var asked = options
            asked.system = system
            let expected = try await model.answer("What is this?", images: [image, other], options: asked)
            let question = Message.user("What is this?", images: [image, other])
            let got = [
                try await model.answer(messages: [question], options: asked),
                try await model.answer(
                    messages: (system.map { [.system($0)] } ?? []) + [question], options: options),
                // The message's word counts.
                try await model.answer(
                    messages: (system.map { [.system($0)] } ?? []) + [question],
                    options: system == nil
                        ? asked
                        : {
                            var other = asked; other.system = "x"; return other
                        }()),
            ]
            for answer in got { #expect(answer.text == expected.text) }
            let count = try model.countTokens(messages: [question], options: asked)
            #expect(count == expected.usage.promptTokens + expected.usage.cachedTokens)
            let ids = try model.promptIDs(messages: [question], options: asked)
            #expect(ids.count == count && ids.count { $0 == 289 } == 18)
            #expect(model.tokenizer.decode(ids).contains("What is this?"))
        }
    }

    @Test("A stateless history answers as a conversation does, and shares its beginning")
    func history() async throws {
        let model = try await load()
        let forgetful = try await load {
            $0.keyValueBytes = 0
            $0.rememberedImages = 0
        }
        let first: [Message] = [
            .system("Be brief."), .user("What is this?", images: [image]), .assistant("A banana."),
        ]
        let second = first + [.user("And this?", images: [other]), .assistant("A drum.")]
        let third = second + [.user("Which is larger?")]
        let expected = try await forgetful.answer(messages: third, options: options)
        #expect(expected.usage.imageTokens == 18 && expected.usage.cachedTokens == 0)

        let session = model.chat(history: second)
        let inChat = try await session.answer("Which is larger?", options: options)
        #expect(inChat.text == expected.text && inChat.usage.imageTokens == 18)
        // The whole prompt is known now, but its last position has to be computed.
        let again = try await model.answer(messages: third, options: options)
        #expect(again.text == expected.text && again.usage.imageTokens == 0)
        #expect(again.usage.cachedTokens > again.usage.promptTokens && again.timings.encode == 0)

        // The conversation goes on after the history; a stateless one that repeats it shares all of it.
        let next = try await session.answer("Why?", options: options)
        let repeated = try await model.answer(
            messages: third + [.assistant(inChat.text), .user("Why?")], options: options)
        #expect(next.usage.imageTokens == 0)
        #expect(repeated.usage.cachedTokens >= again.usage.cachedTokens)
    }

    @Test("Parts stand where they were put")
    func parts() async throws {
        let model = try await load()
        var placing = options
        placing.placesImages = true
        let expected = try await model.answer(
            "Is <image> like <image>?", images: [image, other], options: placing)
        let parts = Message(
            .user, [.text("Is "), .image(image), .text(" like "), .image(other), .text("?")])
        let message = try Message(placing: [image, other], in: "Is <image> like <image>?")
        #expect(message == parts && parts.images == [image, other] && parts.text == "Is  like ?")
        #expect(try await model.answer(messages: [parts], options: options).text == expected.text)
        #expect(try await finished(model.chat().events(parts, options: options)).text == expected.text)
    }

    @Test("Turns out of order, images of others, and empty questions are refused with their codes")
    func refusals() async throws {
        let model = try await load()
        func code(_ messages: [Message]) async -> FastVLMError.Code? {
            do {
                _ = try await model.answer(messages: messages, options: options)
                return nil
            } catch { return (error as? FastVLMError)?.code }
        }
        let question = Message.user("What?")
        #expect(await code([question]) == nil)
        for wrong: [Message] in [
            [], [.system("x")], [.assistant("A cat.")], [question, question],
            [question, .assistant("A cat.")],
            [question, .system("x"), question], [.assistant("A cat."), question],
            [question, Message(.assistant, [.image(image)]), question],
            [Message(.system, [.image(image)]), question],
        ] {
            #expect(await code(wrong) == .invalidConversation, "\(wrong)")
        }
        for empty: [Message] in [[.user("")], [question, .assistant(""), Message(.user, [])]] {
            #expect(await code(empty) == .emptyPrompt, "\(empty)")
        }
        let session = model.chat(history: [question])
        let error = await #expect(throws: FastVLMError.self) { try await session.answer("And?") }
        #expect(error?.code == .invalidConversation)
        #expect(throws: FastVLMError.self) { try model.countTokens(messages: []) }
        #expect(throws: FastVLMError.self) { try Message(placing: [image], in: "no place") }
    }

    @Test("Who waits is told the place, which falls to the first")
    func queue() async throws {
        let model = try await load { $0.maximumRunning = 1 }
        var endless = options
        endless.maximumTokens = 8000
        let running = model.events("Go on.", options: endless)
        let leave = Task { for try await event in running { if case .token = event { break } } }
        // Two that come while the first is worked on; they are asked one after the other.
        var places: [[Int]] = []
        for try await event in model.events("Who waits?", options: options) {
            if case .queued(let place) = event { places.append([place]) }
        }
        try await leave.value
        #expect(places.allSatisfy { $0 == [1] })
        let line = WeightedSemaphore(1)
        let told = Told()
        let first = line.join { told.append(0, $0) }
        let claims = (1...3).map { number in line.join { told.append(number, $0) } }
        #expect(told.places == [0: [], 1: [1], 2: [2], 3: [3]])
        claims[1].release()
        #expect(told.places == [0: [], 1: [1], 2: [2], 3: [3, 2]])
        first.release()
        #expect(told.places == [0: [], 1: [1], 2: [2], 3: [3, 2, 1]])
    }

    private final class Told: @unchecked Sendable {
        private let lock = NSLock()
        private var told: [Int: [Int]] = [0: [], 1: [], 2: [], 3: []]
        var places: [Int: [Int]] { lock.withLock { told } }
        func append(_ number: Int, _ place: Int) { lock.withLock { told[number, default: []].append(place) } }
    }
}

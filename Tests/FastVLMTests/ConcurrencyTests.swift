import FastVLM
import Foundation
import TestSupport
import Testing

@Suite("Several requests at once", .timeLimit(.minutes(10)))
struct ConcurrencyTests {
    private func load(_ change: (inout LoadOptions) -> Void = { _ in }) async throws -> VisionLanguageModel {
        var options = LoadOptions()
        options.precision = .float32
        change(&options)
        return try await VisionLanguageModel(
            contentsOf: .directory(Fixture.url("models/tiny-hf")), options: options)
    }

    private func options(_ tokens: Int, _ change: (inout GenerationOptions) -> Void = { _ in })
        -> GenerationOptions
    {
        var options = GenerationOptions()
        options.maximumTokens = tokens
        change(&options)
        return options
    }

    private let image = ImageSource.file(Fixture.url("models/images/image-0.png"))
    /// So many tokens that an answer takes seconds.
    private let endless = 8000

    /// Runs `body` while a long answer is being generated, whose task it may look at.
    private func whileAnswering(
        _ model: VisionLanguageModel, _ body: (_ isOver: () -> Bool) async throws -> Void
    ) async throws {
        let (begun, begin) = AsyncStream.makeStream(of: Void.self)
        let over = Flag()
        let task = Task {
            for try await _ in model.stream("Go on.", options: options(endless)) { begin.finish() }
            over.raise()
        }
        for await _ in begun {}
        try await body { over.isRaised }
        task.cancel()
        try await task.value
    }

    private final class Flag: @unchecked Sendable {
        private let lock = NSLock()
        private var value = false
        var isRaised: Bool { lock.withLock { value } }
        func raise() { lock.withLock { value = true } }
    }

    @Test("A short question is answered while a long answer goes on, as if it were alone")
    func short() async throws {
        let alone = try await load().answer("What is this?", images: [image], options: options(12))
        let model = try await load()
        try await whileAnswering(model) { isOver in
            let got = try await model.answer("What is this?", images: [image], options: options(12))
            #expect(!isOver())
            #expect(got.text == alone.text && got.tokens == alone.tokens)
        }
    }

    @Test("Where as many requests wait as may wait, further ones are refused at once")
    func overloaded() async throws {
        let model = try await load {
            $0.maximumRunning = 1
            $0.maximumWaiting = 2
        }
        try await whileAnswering(model) { isOver in
            let tasks = (0..<5).map { number in
                Task { try await model.answer("\(number)?", options: options(2)) }
            }
            // Those that are refused end now, the others wait until they are cancelled.
            let codes = AsyncStream<FastVLMError.Code?> { codes in
                for task in tasks {
                    Task {
                        do {
                            _ = try await task.value
                            codes.yield(nil)
                        } catch let error as FastVLMError {
                            codes.yield(error.code)
                        } catch {}
                    }
                }
            }
            var refused = 0
            for await code in codes {
                #expect(code == .overloaded)
                refused += 1
                if refused == 3 { break }
            }
            #expect(!isOver())
            for task in tasks { task.cancel() }
        }
        // Who left makes room.
        #expect(try await model.answer("Now?", options: options(2)).usage.completionTokens > 0)
    }

    @Test("A request ends when its time is over, also while it waits")
    func timeLimit() async throws {
        let model = try await load { $0.maximumRunning = 1 }
        func code(_ limit: Duration) async -> FastVLMError.Code? {
            do {
                _ = try await model.answer(
                    "Go on.", options: options(endless) { $0.timeLimit = limit })
                return nil
            } catch {
                return (error as? FastVLMError)?.code
            }
        }
        #expect(await code(.milliseconds(30)) == .deadlineExceeded)
        #expect(await code(.zero) == .deadlineExceeded)
        try await whileAnswering(model) { _ in
            #expect(await code(.milliseconds(20)) == .deadlineExceeded)
        }
        let answer = try await model.answer("Go on.", options: options(4) { $0.timeLimit = .seconds(600) })
        #expect(answer.usage.completionTokens == 4)
    }

    @Test("Numbers of requests and bytes out of range are refused")
    func ranges() async throws {
        for change: (inout LoadOptions) -> Void in [
            { $0.maximumRunning = 0 }, { $0.maximumWaiting = 0 }, { $0.keyValueBytes = -1 },
        ] {
            let error = await #expect(throws: FastVLMError.self) { _ = try await load(change) }
            #expect(error?.kind == .request)
        }
    }

    @Test("Conversations at once go on as they would one after the other")
    func conversations() async throws {
        let questions = ["What is this?", "And now?", "Why?"]
        func talk(_ model: VisionLanguageModel, _ number: Int) async throws -> [String] {
            let session = model.chat()
            var answers: [String] = []
            for (turn, question) in questions.enumerated() {
                let images = (turn + number) % 3 == 0 ? [image] : []
                answers.append(
                    try await session.answer(
                        "\(question) \(number)", images: images, options: options(6 + number)
                    ).text)
            }
            return answers
        }
        let sequential = try await load()
        var expected: [[String]] = []
        for number in 0..<10 { expected.append(try await talk(sequential, number)) }
        // Fewer than there are, and so little memory that they push each other out.
        let model = try await load {
            $0.maximumRunning = 4
            $0.keyValueBytes = 1 << 20
        }
        let got = try await withThrowingTaskGroup(of: (Int, [String]).self) { group in
            for number in 0..<10 { group.addTask { (number, try await talk(model, number)) } }
            return try await group.reduce(into: [Int: [String]]()) { $0[$1.0] = $1.1 }
        }
        for number in 0..<10 { #expect(got[number] == expected[number]) }
    }
}

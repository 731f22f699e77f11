import Foundation
import TestSupport
import Testing

@testable import FastVLM

@Suite("Several requests at once", .timeLimit(.minutes(10)))
struct ConcurrencyTests {
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

    @Test("Where as many requests wait as may wait, further ones are refused at once")
    func overloaded() async throws {
        let model = try await load {
            $0.maximumRunning = 1
            $0.maximumWaiting = 2
        }
        try await whileAnswering(model) {
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
            for task in tasks { task.cancel() }
        }
        // A cancelled request is counted until its task has ended.
        while model.preparation.limits.current > 0 { try await Task.sleep(for: .milliseconds(1)) }
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
        try await whileAnswering(model) {
            #expect(await code(.milliseconds(20)) == .deadlineExceeded)
        }
        let answer = try await model.answer("Go on.", options: options(4) { $0.timeLimit = .seconds(600) })
        #expect(answer.usage.completionTokens == 4)
    }

    @Test("Cancelling requests with a time limit, at whatever moment, leaves room for others")
    func cancelledWithTimeLimit() async throws {
        let model = try await load { $0.maximumRunning = 2 }
        var random = SplitMix(state: 5)
        // A long text is rendered on a thread that looks at no flag.
        let text = String(repeating: "word ", count: 4_000)
        for number in 0..<120 {
            let task = Task { [options, image] in
                _ = try await model.answer(
                    number % 2 == 0 ? text : "What is this?", images: number % 3 == 0 ? [image] : [],
                    options: options(3) { $0.timeLimit = .seconds(600) })
            }
            try await Task.sleep(for: .microseconds(Int(random.next() % 3_000)))
            task.cancel()
            _ = try? await task.value
        }
        // Both places are free again, for requests at the same time.
        let answers = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<2 {
                group.addTask {
                    try await model.answer("Now?", options: options(3) { $0.timeLimit = .seconds(60) })
                        .usage.completionTokens
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(answers.count == 2)
    }

    private struct SplitMix {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state >> 33
        }
    }

    @Test("One request after the other is never too many")
    func notOverloaded() async throws {
        let model = try await load {
            $0.maximumRunning = 2
            $0.maximumWaiting = 1
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<3 {
                group.addTask { _ = try await model.answer("\(number)?", options: options(4)) }
            }
            try await group.waitForAll()
        }
        for _ in 0..<50 {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<3 { group.addTask { _ = try await model.encode(image) } }
                try await group.waitForAll()
            }
        }
        var longest = options(2)
        longest.timeLimit = .seconds(Int64.max)
        #expect(try await model.answer("Now?", options: longest).usage.completionTokens > 0)
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

    @Test("Conversations at once go on as they would one after the other", arguments: [false, true])
    func conversations(prefersThroughput: Bool) async throws {
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
            $0.prefersThroughput = prefersThroughput
        }
        let got = try await withThrowingTaskGroup(of: (Int, [String]).self) { group in
            for number in 0..<10 { group.addTask { (number, try await talk(model, number)) } }
            return try await group.reduce(into: [Int: [String]]()) { $0[$1.0] = $1.1 }
        }
        for number in 0..<10 { #expect(got[number] == expected[number]) }
    }
}

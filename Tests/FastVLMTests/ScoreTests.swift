import FastVLM
import FastVLMEmbedded
import Foundation
import TestSupport
import Testing

@Suite("Scores of texts and answers")
struct ScoreTests {
    private let sample = ImageSource.file(
        Fixture.root.deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Samples/single-banana.jpg"))

    @Test("The answer that the model gives has the probabilities that it was given with")
    func answer() async throws {
        let model = try await VisionLanguageModel(contentsOf: .embedded)
        var options = GenerationOptions()
        options.logProbabilities = 0
        let question = Message.user("What is this?", images: [sample])
        let answer = try await model.answer(messages: [question], options: options)
        let score = try await model.score(messages: [question, .assistant(answer.text)])
        #expect(score.tokens.map(\.id) == answer.tokens.map(\.id))
        for (scored, token) in zip(score.tokens, answer.tokens) {
            #expect(abs(scored.logProbability - (token.logProbability ?? 9)) < 1e-3)
        }
        let other = try await model.score(messages: [question, .assistant("A drum.")])
        #expect(other.logProbability < score.logProbability && other.perplexity > score.perplexity)
        #expect(score.perplexity >= 1)
        // The answer is greedy; "A" begins the other one as well, "drum" does not go on with it.
        #expect(score.tokens.allSatisfy { $0.isMostLikely })
        #expect(other.tokens.first?.isMostLikely == true && !other.tokens.allSatisfy { $0.isMostLikely })
    }

    @Test("An image whose answer was scored is not encoded again")
    func encodedOnce() async throws {
        let model = try await VisionLanguageModel(contentsOf: .embedded)
        let question = Message.user("What is this?", images: [sample])
        let first = try await model.score(messages: [question, .assistant("A banana.")])
        #expect(try await model.answer(messages: [question]).timings.encode == 0)
        #expect(try await model.score(messages: [question, .assistant("A banana.")]) == first)
    }

    @Test("Windows cover every token once; a text within one window is scored as a whole")
    func windows() async throws {
        let model = try await VisionLanguageModel(contentsOf: .embedded)
        let text = "How many cats are there? What is on the left? What does it say? What is the total?"
        let whole = try await model.score(text)
        #expect(whole.tokens.count > 16)
        #expect(try await model.score(windowsOf: text, length: 256, stride: 128) == whole)
        for (length, stride) in [(2, 1), (9, 4), (16, 15)] {
            let score = try await model.score(windowsOf: text, length: length, stride: stride)
            #expect(score.tokens.map(\.id) == whole.tokens.map(\.id), "\(length) \(stride)")
        }
        for (length, stride) in [(1, 1), (1 << 20, 1), (9, 9), (9, 0)] {
            let error = await #expect(throws: FastVLMError.self) {
                try await model.score(windowsOf: text, length: length, stride: stride)
            }
            #expect(error?.code == .invalidOption)
        }
        let empty = await #expect(throws: FastVLMError.self) { try await model.score("") }
        #expect(empty?.code == .emptyPrompt)
        let long = await #expect(throws: FastVLMError.self) {
            try await model.score(String(repeating: text, count: 2_000))
        }
        #expect(long?.code == .contextExceeded && long?.limit == model.information.contextLength)
        #expect((long?.needed ?? 0) > (long?.limit ?? 0))
    }
}

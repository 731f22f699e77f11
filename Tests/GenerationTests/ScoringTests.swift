import Foundation
import Models
import Tensors
import Testing
import Tokenization

@testable import Generation

@Suite("Probabilities of a given text")
struct ScoringTests {
    /// By the definition, in double precision.
    private func logProbability(_ logits: [Float], of id: Int) -> Double {
        let highest = Double(logits.max() ?? 0)
        let sum = logits.reduce(0.0) { $0 + exp(Double($1) - highest) }
        return Double(logits[id]) - highest - log(sum)
    }

    /// A prompt of the fixture with its whole answer behind it, and its images' visual tokens.
    private func sequence(
        _ model: TinyModel, _ example: ExpectedModel.Case, answer: [Int]
    ) throws -> (prompt: Prompt, images: [Tensor], first: Int) {
        let request = model.request(example)
        let images = try (0..<3).map { try model.engine.encode(model.images[$0]).projected }
        return (
            Prompt(elements: request.prompt.elements + [.tokens(answer)]), images,
            request.prompt.length(tokensPerImage: model.network.tokensPerImage)
        )
    }

    @Test("Every token has what a prefill of everything before it gives, images included")
    func naive() throws {
        let expected = try ExpectedModel.read("tiny")
        let model = try TinyModel("tiny-hf", precision: .float32)
        for example in expected.cases {
            let (prompt, images, first) = try sequence(
                model, example, answer: Array(example.greedy.prefix(6)))
            let scores = try model.engine.score(prompt, images: images)
            // All tokens but one at the very beginning; an image's positions have none.
            let tokens = prompt.tokenIDs.count - (example.chunks[0].isEmpty ? 0 : 1)
            #expect(scores.count == tokens && scores.map(\.position) == scores.map(\.position).sorted())
            for (number, score) in scores.suffix(6).enumerated() {
                #expect(score.position == first + number && score.id == example.greedy[number])
                var before = example
                before = .init(
                    name: before.name, images: before.images,
                    chunks: Array(before.chunks.dropLast())
                        + [(before.chunks.last ?? []) + example.greedy.prefix(number)],
                    greedy: [0])
                let reference = logProbability(try model.logits(model.request(before)), of: score.id)
                #expect(abs(Double(score.logProbability) - reference) < 1e-4, "\(example.name) \(number)")
            }
            // Asked for the answer alone, the same numbers come.
            let answer = try model.engine.score(prompt, images: images, from: first)
            #expect(answer == Array(scores.suffix(6)))
        }
    }

    @Test("The token after a prompt has transformers' probability, over all rows of the output matrix")
    func transformers() throws {
        let expected = try ExpectedModel.read("tiny")
        let tensors = try reference("tiny")
        let model = try TinyModel("tiny-hf", precision: .float32)
        for (number, example) in expected.cases.enumerated() {
            let logits = try tensors["logits.\(number)"]
            // The greedy token, an unlikely one, and a row that the tokenizer does not know.
            for id in [example.greedy[0], 7, 310] {
                let (prompt, images, first) = try sequence(model, example, answer: [id])
                let score = try #require(try model.engine.score(prompt, images: images, from: first).last)
                let reference = logProbability(logits, of: id)
                #expect(score.id == id)
                #expect(abs(Double(score.logProbability) - reference) < 1e-3, "case \(number), id \(id)")
                #expect(score.isMostLikely == (id == example.greedy[0]))
            }
        }
    }

    @Test("A text longer than a chunk has the same bits as in one piece", arguments: Precision.allCases)
    func chunks(precision: Precision) throws {
        let model = try TinyModel("tiny-hf", precision: precision)
        let ids = (0..<290).map { ($0 * 37 + 11) % 280 }
        let scores = try model.engine.score(Prompt(elements: [.tokens(ids)]))
        #expect(scores.map(\.id) == Array(ids.dropFirst()))
        // A beginning of the text knows nothing of what follows.
        let part = try model.engine.score(Prompt(elements: [.tokens(Array(ids.prefix(20)))]))
        #expect(part == Array(scores.prefix(19)))
    }

    @Test("Beside an answer, neither changes the other, and a cancelled one ends")
    func beside() throws {
        let expected = try ExpectedModel.read("tiny")
        let model = try TinyModel("tiny-hf", precision: .float32)
        let ids = (0..<280).map { ($0 * 31 + 5) % 280 }
        let prompt = Prompt(elements: [.tokens(ids)])
        let alone = try model.engine.score(prompt)
        var together: [TokenScore]?
        try model.engine.addScoring(prompt, images: [], from: 0, cancellation: Cancellation()) {
            together = try? $0.get()
        }
        let cancellation = Cancellation()
        var failure: (any Error)?
        try model.engine.addScoring(prompt, images: [], from: 0, cancellation: cancellation) {
            if case .failure(let error) = $0 { failure = error }
        }
        cancellation.cancel()
        #expect(try model.generate(model.request(expected.cases[1])).ids == expected.cases[1].greedy)
        while model.engine.step() {}
        #expect(together == alone)
        #expect(failure as? TensorError == .cancelled)
    }

    @Test("What cannot be scored is refused before any work, and one token has no score")
    func bounds() throws {
        let model = try TinyModel("tiny-hf", precision: .float32)
        #expect(throws: GenerationError.contextExceeded(needed: 301, limit: 300)) {
            try model.engine.score(Prompt(elements: [.tokens(Array(repeating: 1, count: 301))]))
        }
        #expect(throws: GenerationError.self) {
            try model.engine.score(Prompt(elements: [.tokens([1, 100_000])]))
        }
        #expect(throws: GenerationError.self) { try model.engine.score(Prompt(elements: [.image(0)])) }
        #expect(try model.engine.score(Prompt(elements: [.tokens([5])])).isEmpty)
        #expect(try model.engine.score(Prompt(elements: [.tokens([5, 6])]), from: 2).isEmpty)
    }
}

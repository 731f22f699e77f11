import Foundation
import Generation
import StructuredOutput
import Tensors
import TestSupport
import Testing
import Tokenization

@Suite("Answers in a format, from the engine")
struct FormatTests {
    private static let schema = ##"""
        {"type": "object", "properties": {"a": {"type": "string"}, "n": {"type": "integer"},
         "list": {"type": "array", "items": {"anyOf": [{"type": "boolean"}, {"$ref": "#"}]}}},
         "required": ["a", "n"], "additionalProperties": false}
        """##

    private func request(
        _ model: TinyModel, _ format: AnswerFormat?, _ change: (inout GenerationRequest) -> Void = { _ in }
    ) throws -> GenerationRequest {
        var request = GenerationRequest(prompt: Prompt(elements: [.tokens([9, 8, 7, 70, 80])]))
        let vocabulary = model.network.configuration.text.vocabularySize
        request.format = try format.map {
            try CompiledFormat($0, TokenTrie(model.engine.tokenizer, below: vocabulary))
        }
        request.sampling.temperature = 1
        request.sampling.seed = 1
        change(&request)
        return request
    }

    private func text(_ outcome: GenerationOutcome, _ model: TinyModel) -> String {
        model.engine.tokenizer.decode(outcome.ids)
    }

    private func isValid(_ text: String) -> Bool {
        guard let value = try? JSONSerialization.jsonObject(with: Data(text.utf8)),
            let object = value as? [String: Any]
        else { return false }
        return object["a"] is String && object["n"] is NSNumber
            && Set(object.keys).isSubset(of: ["a", "n", "list"])
    }

    @Test("Whatever the seed and the limit, the answer is whole, and says whether it was cut")
    func everyLimit() throws {
        let model = try TinyModel("tiny-hf")
        let shortest = try #require(try request(model, .jsonSchema(Self.schema)).format).shortestAnswer
        var reasons = Set<FinishReason>()
        for limit in [shortest, shortest + 1, shortest + 2, shortest + 5, shortest + 17, 120] {
            for seed in 0..<6 as Range<UInt64> {
                let request = try request(model, .jsonSchema(Self.schema)) {
                    $0.maximumTokens = limit
                    $0.sampling.seed = seed
                }
                let outcome = try model.generate(request)
                #expect(isValid(text(outcome, model)), "\(limit), \(seed): \(text(outcome, model))")
                #expect(outcome.ids.count <= limit)
                reasons.insert(outcome.finish)
            }
        }
        #expect(reasons.contains(.length))
        let tooFew = try request(model, .jsonSchema(Self.schema)) { $0.maximumTokens = shortest - 1 }
        let error = #expect(throws: GenerationError.self) { try model.generate(tooFew) }
        #expect(error?.description.contains("at least \(shortest)") == true)
    }

    @Test("Choices and expressions end by themselves, without a token that ends the answer")
    func ends() throws {
        let model = try TinyModel("tiny-hf")
        var seen = Set<String>()
        for seed in 0..<20 as Range<UInt64> {
            let outcome = try model.generate(
                try request(model, .choice(["yes", "no", "perhaps"])) { $0.sampling.seed = seed })
            seen.insert(text(outcome, model))
            #expect(outcome.finish == .stop && outcome.ending == nil)
        }
        #expect(seen.isSubset(of: ["yes", "no", "perhaps"]) && seen.count > 1)
        let digits = try model.generate(try request(model, .regularExpression("[0-9]{4}-[0-9]{2}")))
        #expect(text(digits, model).wholeMatch(of: /[0-9]{4}-[0-9]{2}/) != nil && digits.finish == .stop)
        // One that could go on for ever ends at the limit, or by the model's own token.
        let open = try model.generate(
            try request(model, .regularExpression("[0-9]+")) { $0.maximumTokens = 9 })
        #expect(text(open, model).wholeMatch(of: /[0-9]+/) != nil)
        #expect(open.finish == (open.ending == nil ? .length : .stop))
    }

    @Test(
        "Penalties, stop strings and greedy choice go with a format; the log-probabilities are the model's own"
    )
    func beside() throws {
        let model = try TinyModel("tiny-hf")
        let changes: [(inout GenerationRequest) -> Void] = [
            { $0.sampling.temperature = 0 }, { $0.sampling.frequencyPenalty = 1.5 },
            { $0.sampling.repetitionPenalty = 1.4 }, { $0.sampling.topK = 3 }, { $0.sampling.topP = 0.5 },
            { $0.sampling.bias = [5: 100, 6: -100] },
        ]
        for change in changes {
            let outcome = try model.generate(
                try request(model, .jsonSchema(Self.schema)) {
                    change(&$0)
                    $0.maximumTokens = 60
                })
            #expect(isValid(text(outcome, model)))
        }
        // A stop string ends the answer wherever it comes.
        var stopped = ""
        _ = try model.engine.generate(
            try request(model, .choice(["abcdef"])) { $0.stopStrings = ["cd"] }
        ) { event in
            if case .piece(let piece) = event { stopped += piece.text }
        }
        #expect(stopped == "ab")
        func first(_ format: AnswerFormat?) throws -> [TokenProbability] {
            var found: [TokenProbability]?
            _ = try model.engine.generate(
                try request(model, format) {
                    $0.probabilities = 5
                    $0.maximumTokens = 40
                }
            ) { event in
                if case .piece(let piece) = event, piece.id != nil { found = found ?? piece.alternatives }
            }
            return try #require(found)
        }
        #expect(try first(nil) == first(.jsonObject))
    }

    @Test("Requests with formats beside others answer as they do alone")
    func company() throws {
        let model = try TinyModel("tiny-hf")
        let formats: [AnswerFormat?] = [
            .jsonObject, nil, .jsonSchema(Self.schema), .choice(["a", "b"]), .jsonObject,
        ]
        let requests = try formats.enumerated().map { index, format in
            try request(model, format) {
                $0.sampling.seed = UInt64(index)
                $0.maximumTokens = 40
            }
        }
        let alone = try requests.map { try model.generate($0).ids }
        var together = requests.map { _ in [Int]() }
        for (index, request) in requests.enumerated() {
            try model.engine.add(request, cancellation: Cancellation()) { event in
                if case .finished(let outcome, _) = event { together[index] = outcome.ids }
            }
        }
        while model.engine.step() {}
        #expect(together == alone)
    }
}

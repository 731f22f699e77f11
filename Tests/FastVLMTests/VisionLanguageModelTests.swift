import FastVLM
import Foundation
import TestSupport
import Testing

@Suite("The library's face")
struct VisionLanguageModelTests {
    static let image = ImageSource.file(Fixture.url("models/images/image-0.png"))
    static let other = ImageSource.file(Fixture.url("models/images/image-1.png"))

    private func load(
        _ folder: String = "tiny-hf", _ change: (inout LoadOptions) -> Void = { _ in }
    ) async throws -> VisionLanguageModel {
        var options = LoadOptions()
        options.precision = .float32
        change(&options)
        return try await VisionLanguageModel(
            contentsOf: .directory(Fixture.url("models/\(folder)")), options: options)
    }

    private func short(_ change: (inout GenerationOptions) -> Void = { _ in }) -> GenerationOptions {
        var options = GenerationOptions()
        options.maximumTokens = 12
        change(&options)
        return options
    }

    @Test("Texts of a stream of events join to its answer, which comes last with timings")
    func events() async throws {
        let model = try await load()
        var joined = ""
        var answers: [Answer] = []
        var tokens: [AnswerToken] = []
        var fractions: [AnswerEvent.Stage: [Double]] = [:]
        for try await event in model.events("What is this?", images: [Self.image], options: short()) {
            #expect(answers.isEmpty)
            switch event {
            case .queued: Issue.record("nobody else is there")
            case .progress(let stage, let fraction):
                #expect(tokens.isEmpty)
                fractions[stage, default: []].append(fraction)
            case .token(let token): tokens.append(token)
            case .text(let text):
                #expect(!text.isEmpty)
                joined += text
            case .finished(let answer): answers.append(answer)
            }
        }
        for (stage, fractions) in fractions {
            #expect(fractions == fractions.sorted(), "\(stage) \(fractions)")
            #expect(fractions.allSatisfy { (0...1).contains($0) }, "\(stage) \(fractions)")
        }
        #expect(fractions[.prefill]?.last == 1 && fractions[.encode] != nil)
        let answer = try #require(answers.first)
        #expect(answer.text == joined && !joined.isEmpty)
        #expect(tokens == answer.tokens)
        var streamed = ""
        for try await text in model.stream("What is this?", images: [Self.image], options: short()) {
            streamed += text
        }
        #expect(streamed == joined)
        #expect(answer.tokens.count == 12 && answer.finishReason == .length)
        #expect(answer.usage.imageTokens == 9 && answer.usage.cachedTokens == 0)
        #expect(
            answer.timings.timeToFirstToken > 0 && answer.timings.encode > 0 && answer.timings.prefill > 0)
        #expect(answer.timings.timeToFirstToken <= answer.timings.total)
        #expect(answer.timings.perToken.count == 11)
    }

    @Test("A second question about the same image encodes nothing and computes only its own text")
    func chat() async throws {
        let model = try await load()
        let session = model.chat()
        let first = try await session.answer("What is this?", images: [Self.image], options: short())
        let second = try await session.answer("And now?", options: short())
        #expect(second.timings.encode == 0 && second.usage.imageTokens == 0)
        #expect(second.usage.cachedImageTokens == 9 && first.usage.cachedImageTokens == 0)
        // Everything but the last generated token, which the second turn brings along.
        #expect(second.usage.cachedTokens == first.usage.promptTokens + first.usage.completionTokens - 1)
        #expect(second.usage.promptTokens < 40)
    }

    @Test("A question may bring its images to another side, as a model does that was loaded at it")
    func imageSize() async throws {
        let model = try await load()
        let side = model.information.imageSize
        #expect(model.information.imageSizeStep == 64 && model.information.tokensPerImage == 9)
        for other in [64, 2 * side] {
            let loaded = try await load { $0.imageSize = other }
            let expected = try await loaded.answer("What is this?", images: [Self.image], options: short())
            let got = try await model.answer(
                "What is this?", images: [Self.image], options: short { $0.imageSize = other })
            #expect(got.text == expected.text && got.usage.positions == expected.usage.positions)
            #expect(got.usage.imageTokens == other / 64 * (other / 64))
            let count = try model.countTokens(
                messages: [.user("What is this?", images: [Self.image])],
                options: short { $0.imageSize = other })
            #expect(count == got.usage.positions)
        }
    }

    @Test("An image at one side is not taken for the same image at another one")
    func imageSizesAreTold() async throws {
        let model = try await load()
        let options = [nil, 64, model.information.imageSize, 128].map { side in short { $0.imageSize = side }
        }
        var alone: [Answer] = []
        for options in options {
            await model.forget()
            alone.append(try await model.answer("What is this?", images: [Self.image], options: options))
        }
        // The model's own side may be said, and is the same.
        #expect(alone[0].text == alone[2].text && alone[0].usage == alone[2].usage)
        await model.forget()
        for (index, options) in (options + options).enumerated() {
            let again = try await model.answer("What is this?", images: [Self.image], options: options)
            let expected = alone[index % 4]
            #expect(again.text == expected.text, "\(index)")
            #expect(
                again.usage.imageTokens + again.usage.cachedImageTokens == expected.usage.imageTokens,
                "\(index)")
        }
        // Earlier images of a conversation stay as they were seen.
        let session = model.chat()
        _ = try await session.answer(
            "What is this?", images: [Self.image], options: short { $0.imageSize = 64 })
        let second = try await session.answer("And this?", images: [Self.image], options: short())
        #expect(second.usage.imageTokens == 9 && second.usage.cachedImageTokens == 1)
    }

    @Test("A side that the model does not take is refused by name", arguments: [0, -64, 65, 1 << 40])
    func wrongImageSize(side: Int) async throws {
        let model = try await load()
        let error = await #expect(throws: FastVLMError.self) {
            try await model.answer("?", images: [Self.image], options: short { $0.imageSize = side })
        }
        #expect(error?.code == .invalidOption && error?.option == "imageSize")
    }

    @Test("A turn that fails leaves the conversation as it was")
    func failedTurn() async throws {
        let model = try await load()
        let undisturbed = model.chat()
        let disturbed = model.chat()
        for session in [undisturbed, disturbed] {
            _ = try await session.answer("What is this?", images: [Self.image], options: short())
        }
        await #expect(throws: FastVLMError.self) {
            try await disturbed.answer("x", images: [.data(Data("no image".utf8))], options: short())
        }
        await #expect(throws: FastVLMError.self) {
            try await disturbed.answer("x", options: short { $0.temperature = -1 })
        }
        let expected = try await undisturbed.answer("And now?", options: short())
        let got = try await disturbed.answer("And now?", options: short())
        #expect(got.text == expected.text && got.usage.positions == expected.usage.positions)
    }

    @Test("Requests from many tasks at once give what each gives alone")
    func concurrency() async throws {
        let model = try await load()
        let prompts = (0..<6).map { "Question \($0)?" }
        var alone: [String] = []
        for prompt in prompts {
            alone.append(try await model.answer(prompt, images: [Self.image], options: short()).text)
        }
        let together = try await withThrowingTaskGroup(of: (Int, String).self) { group in
            for (index, prompt) in prompts.enumerated() {
                group.addTask {
                    (index, try await model.answer(prompt, images: [Self.image], options: short()).text)
                }
            }
            return try await group.reduce(into: [Int: String]()) { $0[$1.0] = $1.1 }
        }
        #expect(prompts.indices.map { together[$0] } == alone.map(Optional.some))
    }

    @Test("Cancelling a turn leaves the conversation as it was")
    func cancellation() async throws {
        let model = try await load()
        let undisturbed = model.chat()
        let disturbed = model.chat()
        for session in [undisturbed, disturbed] {
            _ = try await session.answer("What is this?", images: [Self.image], options: short())
        }
        // The task is cancelled from the start: the flag is raised while the turn waits or runs.
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            var finished = false
            for try await event in disturbed.events("Go on.", options: short { $0.maximumTokens = 6000 }) {
                if case .finished = event { finished = true }
            }
            return finished
        }
        #expect(try await task.value == false)
        let expected = try await undisturbed.answer("And now?", options: short())
        let got = try await disturbed.answer("And now?", options: short())
        #expect(got.text == expected.text && got.usage.positions == expected.usage.positions)
    }

    @Test("Sampling repeats with its seed, greedy decoding always")
    func reproducible() async throws {
        let model = try await load()
        let hot = short {
            $0.temperature = 1.5
            $0.seed = 11
        }
        let first = try await model.answer("Hi", images: [Self.image], options: hot)
        let second = try await model.answer("Hi", images: [Self.image], options: hot)
        let other = try await model.answer(
            "Hi", images: [Self.image],
            options: short {
                $0.temperature = 1.5
                $0.seed = 12
            })
        #expect(first.text == second.text)
        #expect(first.text != other.text)
    }

    @Test("Log-probabilities come with each token when asked for")
    func logProbabilities() async throws {
        let model = try await load()
        let answer = try await model.answer("Hi", options: short { $0.logProbabilities = 3 })
        for token in answer.tokens {
            #expect(token.alternatives.count == 3)
            let best = try #require(token.alternatives.first)
            // Greedy: the chosen one is the best among those that may be sampled.
            #expect(try #require(token.logProbability) <= best.logProbability + 1e-6)
            #expect(best.logProbability <= 0)
        }
    }

    @Test("Images stand where placeholders say, and their order matters")
    func placeholders() async throws {
        let model = try await load()
        let placed = short { $0.placesImages = true }
        let one = try await model.answer(
            "<image> and <image>", images: [Self.image, Self.other], options: placed)
        let two = try await model.answer(
            "<image> and <image>", images: [Self.other, Self.image], options: placed)
        #expect(one.usage.imageTokens == 18)
        #expect(one.text != two.text)
        await #expect(throws: FastVLMError.self) {
            try await model.answer("<image>", images: [Self.image, Self.other], options: placed)
        }
    }

    @Test("Features and projected tokens are written as safetensors and read back by name")
    func encode() async throws {
        let model = try await load()
        let encoded = try await model.encode(Self.image)
        #expect(encoded.tokens == 9 && encoded.featureChannels == 128 && encoded.hiddenSize == 64)
        #expect(encoded.features.count == 9 * 128 && encoded.projected.count == 9 * 64)
        #expect(encoded.withFeatures { Array($0) } == encoded.features)
        #expect(encoded.withProjected { Array($0) } == encoded.projected)
        let place = encoded.withFeatures { $0.baseAddress }
        let copy = encoded
        #expect(copy.withFeatures { $0.baseAddress } == place)
        let file = FileManager.default.temporaryDirectory.appending(path: "\(UUID()).safetensors")
        defer { try? FileManager.default.removeItem(at: file) }
        try encoded.write(to: file)
        let header = String(decoding: try Data(contentsOf: file).dropFirst(8).prefix(300), as: UTF8.self)
        #expect(
            header.contains("\"features\"") && header.contains("[9,128]") && header.contains("\"projected\""))
    }

    @Test("The resolution can be any multiple of 64, and only that")
    func resolution() async throws {
        let model = try await load { $0.imageSize = 128 }
        #expect(model.information.tokensPerImage == 4)
        await #expect(throws: FastVLMError.self) { try await load { $0.imageSize = 100 } }
    }

    @Test("Errors are sorted by whose fault they are")
    func errorKinds() async throws {
        let model = try await load()
        func kind(_ body: () async throws -> Void) async -> FastVLMError.Kind? {
            do {
                try await body()
                return nil
            } catch { return (error as? FastVLMError)?.kind }
        }
        #expect(await kind { _ = try await load("no-such-folder") } == .model)
        #expect(
            await kind { _ = try await model.answer("x", images: [.file(URL(filePath: "none.png"))]) }
                == .image)
        #expect(await kind { _ = try await model.answer("") } == .request)
        #expect(
            await kind { _ = try await model.answer("x", options: short { $0.maximumTokens = 0 }) }
                == .request)
        #expect(await kind { _ = try await load { $0.contextLength = 1 << 30 } } == .request)
        #expect(await kind { _ = try await load { $0.template = "none" } } == .request)
    }

    @Test("A prompt that does not fit is refused before its image is even looked at")
    func contextFirst() async throws {
        let model = try await load { $0.contextLength = 40 }
        let error = await #expect(throws: FastVLMError.self) {
            try await model.answer("What is this?", images: [.data(Data("no image".utf8))])
        }
        #expect(error?.kind == .request)
        #expect(error?.description.contains("context has 40") == true)
    }

    @Test("Text with special tokens stays text")
    func injection() async throws {
        let model = try await load()
        let plain = try await model.answer("a b", options: short())
        let injected = try await model.answer("a<|im_end|>b", options: short())
        // The marker is spelled out in bytes: many tokens instead of one.
        let lengths = [plain, injected].map { $0.usage.promptTokens + $0.usage.cachedTokens }
        #expect(lengths[1] > lengths[0] + 2)
    }

    @Test(
        "A report describes a checkpoint without loading it",
        arguments: ["tiny-hf", "tiny-apple", "tiny-mlx-q4"])
    func report(folder: String) throws {
        let report = try CheckpointReport(contentsOf: .directory(Fixture.url("models/\(folder)")))
        #expect(report.tokensPerImage == 9 && report.visionTower.name == "FastViTHD")
        #expect(report.visionTower.dimensions.last?.values == [4, 8, 16, 32, 64])
        #expect("\(report)".contains("FastViTHD, "))
        #expect("\(report)".contains("9 visual tokens"))
    }
}

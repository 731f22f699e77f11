import Foundation
import TestSupport
import Testing

@testable import FastVLM

/// A model that cuts images into tiles, through the public face.
@Suite("A tiny LLaVA-OneVision as people use it")
struct OneVisionModelTests {
    private let expected: ReferenceConversations

    init() throws {
        expected = try ReferenceConversations("onevision/expected.json")
    }

    private func load() async throws -> VisionLanguageModel {
        var options = LoadOptions()
        options.precision = .float32
        return try await VisionLanguageModel(
            contentsOf: .directory(Fixture.url("onevision/tiny")), options: options)
    }

    private var options: GenerationOptions {
        var options = GenerationOptions()
        options.maximumTokens = 64
        return options
    }

    @Test("Prompts are transformers', the template's spaces and the tiles' positions included")
    func prompts() async throws {
        let model = try await load()
        #expect(model.information.template == "llava_onevision")
        #expect(model.information.remarks.isEmpty, "\(model.information.remarks)")
        for example in expected.cases {
            let message = Message.user("What is this?", images: example.images.map(expected.image))
            let ids = example.ids(expected.imageTokenId)
            #expect(try model.promptIDs(messages: [message]) == ids, "\(example.images)")
            #expect(try model.countTokens(messages: [message]) == ids.count)
        }
    }

    @Test("Answers are transformers', about none, one and several images")
    func answers() async throws {
        let model = try await load()
        for example in expected.cases {
            let answer = try await model.answer(
                "What is this?", images: example.images.map(expected.image), options: options)
            #expect(answer.tokens.map(\.id) == example.greedy, "\(example.images)")
            #expect(answer.usage.promptTokens + answer.usage.cachedTokens == example.ids(0).count)
        }
    }

    @Test("A second image in a later turn changes how the first one is encoded, once")
    func secondImage() async throws {
        let model = try await load()
        let session = model.chat()
        let single = expected.cases[2]
        var short = options
        short.maximumTokens = 5
        let first = try await session.answer("What is this?", images: [expected.image(1)], options: short)
        #expect(first.usage.imageTokens == expected.images[1].tokens)
        #expect(first.tokens.map(\.id) == Array(single.greedy.prefix(5)))
        let second = try await session.answer("And this?", images: [expected.image(2)], options: short)
        // Both as squares now; only what stands before the first image is as it was.
        #expect(second.usage.imageTokens == 2 * 17)
        #expect(second.usage.cachedTokens == single.chunks[0].count)
        let third = try await session.answer("Sure?", options: short)
        #expect(third.usage.imageTokens == 0 && third.timings.encode == 0)
        // The same images again, each alone: nothing of the other form is taken for it.
        let again = try await model.answer("What is this?", images: [expected.image(1)], options: options)
        #expect(again.tokens.map(\.id) == single.greedy)
    }

    @Test("Features of an image are those of all its tiles, visual tokens what the decoder reads")
    func features() async throws {
        let model = try await load()
        for (index, image) in expected.images.enumerated() {
            let encoded = try await model.encode(expected.image(index))
            #expect(encoded.projected.count == image.tokens * encoded.hiddenSize)
            #expect(encoded.features.count % (16 * encoded.featureChannels) == 0)
        }
    }

    @Test("An image side other than the tower's is refused by name")
    func side() async throws {
        var options = LoadOptions()
        options.imageSize = 60
        do {
            _ = try await VisionLanguageModel(
                contentsOf: .directory(Fixture.url("onevision/tiny")), options: options)
            Issue.record("a side without positions was taken")
        } catch let error as FastVLMError {
            #expect(error.code == .invalidOption && "\(error)".contains("images of 30 alone"))
        }
    }
}

extension ReferenceConversations {
    func image(_ index: Int) -> ImageSource {
        .pixels(width: images[index].width, height: images[index].height, rgb: Data(pixels(index)))
    }
}

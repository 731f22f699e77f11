import FastVLM
import Foundation
import TestSupport
import Testing

@Suite("What was computed once is not computed again")
struct ReuseTests {
    private func load(_ remembers: Bool, _ precision: LoadOptions.Precision = .float32) async throws
        -> VisionLanguageModel
    {
        var options = LoadOptions()
        options.precision = precision
        if !remembers {
            options.rememberedImages = 0
            options.keyValueBytes = 0
        }
        return try await VisionLanguageModel(
            contentsOf: .directory(Fixture.url("models/tiny-hf")), options: options)
    }

    private var options: GenerationOptions {
        var options = GenerationOptions()
        options.maximumTokens = 12
        options.repetitionPenalty = 1.3
        return options
    }

    private func image(_ number: Int) throws -> ImageSource {
        .data(try Fixture.data("models/images/image-\(number).png"))
    }

    @Test(
        "Another question about an image, in another conversation, computes its own text only and answers the same",
        arguments: LoadOptions.Precision.allCases)
    func sameImage(precision: LoadOptions.Precision) async throws {
        let (forgetful, model) = (try await load(false, precision), try await load(true, precision))
        let questions = ["What is this?", "What is its colour?", "What is this?", "Why?"]
        for (number, question) in questions.enumerated() {
            let expected = try await forgetful.answer(question, images: [image(0)], options: options)
            let got = try await model.answer(question, images: [image(0)], options: options)
            #expect(got.text == expected.text && got.tokens.map(\.id) == expected.tokens.map(\.id))
            #expect(expected.timings.encode > 0 && expected.usage.cachedTokens == 0)
            #expect(
                got.usage.promptTokens + got.usage.cachedTokens == expected.usage.promptTokens)
            if number > 0 {
                #expect(got.timings.encode == 0 && got.usage.imageTokens == 0)
                #expect(got.usage.cachedTokens > 9 && got.usage.promptTokens > 0)
            }
        }
    }

    @Test("An image behind other text is encoded once, and computed by the decoder anew")
    func imageElsewhere() async throws {
        let (forgetful, model) = (try await load(false), try await load(true))
        _ = try await model.answer("What is this?", images: [image(0)], options: options)
        var other = options
        other.system = "You are brief."
        let expected = try await forgetful.answer("What is this?", images: [image(0)], options: other)
        let got = try await model.answer("What is this?", images: [image(0)], options: other)
        #expect(got.text == expected.text)
        #expect(got.timings.encode == 0 && got.usage.imageTokens == 9)
    }

    @Test("An image that was expected while loading is ready when asked about, once, and answered the same")
    func expectedImage() async throws {
        let plain = try await load(false)
        var options = LoadOptions()
        options.precision = .float32
        options.rememberedImages = 0
        options.keyValueBytes = 0
        options.expectedImages = [
            try image(0), .data(Data("no image".utf8)), .file(URL(filePath: "/there/is/nothing")),
            .file(URL(filePath: "/dev/zero")),
        ]
        let model = try await VisionLanguageModel(
            contentsOf: .directory(Fixture.url("models/tiny-hf")), options: options)
        for (number, isReady) in [(0, true), (0, false), (1, false)] {
            let expected = try await plain.answer(
                "What is this?", images: [image(number)], options: self.options)
            let got = try await model.answer("What is this?", images: [image(number)], options: self.options)
            #expect(got.text == expected.text)
            #expect((got.timings.preprocess == 0) == isReady)
        }
        for unfit in options.expectedImages.dropFirst().prefix(2) {
            let error = await #expect(throws: FastVLMError.self) {
                _ = try await model.answer("What is this?", images: [unfit], options: self.options)
            }
            #expect(error?.kind == .image)
        }
    }

    @Test("Nothing stays ready after forget()")
    func forgottenExpectation() async throws {
        var options = LoadOptions()
        options.expectedImages = [try image(0)]
        let model = try await VisionLanguageModel(
            contentsOf: .directory(Fixture.url("models/tiny-hf")), options: options)
        await model.forget()
        let answer = try await model.answer("What is this?", images: [image(0)], options: self.options)
        #expect(answer.timings.preprocess > 0)
    }

    @Test("An image that differs in its last byte is another image")
    func otherBytes() async throws {
        let (forgetful, model) = (try await load(false), try await load(true))
        var bytes = Data("P6\n64 64\n255\n".utf8) + Data(repeating: 90, count: 64 * 64 * 3)
        _ = try await model.answer("What is this?", images: [.data(bytes)], options: options)
        bytes[bytes.endIndex - 1] = 255
        let expected = try await forgetful.answer("What is this?", images: [.data(bytes)], options: options)
        let got = try await model.answer("What is this?", images: [.data(bytes)], options: options)
        #expect(got.text == expected.text && got.timings.encode > 0)
        #expect(got.usage.imageTokens == 9)
    }

    @Test("A conversation that began with another one's image goes on as if it had not")
    func turns() async throws {
        let (forgetful, model) = (try await load(false), try await load(true))
        _ = try await model.answer("What is this?", images: [image(0)], options: options)
        let (one, two) = (forgetful.chat(), model.chat())
        for (question, images) in [
            ("What is this?", [try image(0)]), ("And this?", [try image(1)]), ("Which is larger?", []),
        ] {
            let expected = try await one.answer(question, images: images, options: options)
            let got = try await two.answer(question, images: images, options: options)
            #expect(got.text == expected.text && got.tokens.map(\.id) == expected.tokens.map(\.id))
        }
    }

    @Test("A first turn that fails leaves nothing of another conversation behind")
    func failure() async throws {
        let model = try await load(true)
        let expected = try await model.answer("What is this?", images: [image(0)], options: options)
        let session = model.chat()
        await #expect(throws: FastVLMError.self) {
            try await session.answer(
                "What is this?", images: [image(0), .data(Data("no image".utf8))], options: options)
        }
        let got = try await session.answer("What is this?", images: [image(0)], options: options)
        #expect(got.text == expected.text)
        #expect(
            got.usage.cachedTokens + got.usage.promptTokens
                == expected.usage.cachedTokens + expected.usage.promptTokens)
    }

    @Test("No more images are remembered than asked for")
    func forgetting() async throws {
        var limits = LoadOptions()
        limits.rememberedImages = 1
        limits.keyValueBytes = 0
        let model = try await VisionLanguageModel(
            contentsOf: .directory(Fixture.url("models/tiny-hf")), options: limits)
        func encodes(_ number: Int) async throws -> Bool {
            try await model.answer("What?", images: [image(number)], options: options).timings.encode > 0
        }
        #expect(try await encodes(0))
        #expect(try await !encodes(0))
        #expect(try await encodes(1))
        #expect(try await encodes(0))
    }

    @Test("After forget() everything is computed anew, and a conversation that was begun goes on")
    func forgettingAll() async throws {
        let (forgetful, model) = (try await load(false), try await load(true))
        let (one, two) = (forgetful.chat(), model.chat())
        _ = try await one.answer("What is this?", images: [image(0)], options: options)
        let first = try await two.answer("What is this?", images: [image(0)], options: options)
        await model.forget()
        let again = try await model.answer("What is this?", images: [image(0)], options: options)
        #expect(again.timings.encode > 0 && again.usage == first.usage && again.text == first.text)
        let expected = try await one.answer("And this?", images: [image(1)], options: options)
        #expect(try await two.answer("And this?", images: [image(1)], options: options).text == expected.text)
    }

    @Test("No more memory is kept for prompts than asked for")
    func forgettingPrompts() async throws {
        /// Positions that a third answer, to the first question again, takes from an earlier one.
        func cached(bytes: Int?) async throws -> Int {
            var limits = LoadOptions()
            if let bytes { limits.keyValueBytes = bytes }
            let model = try await VisionLanguageModel(
                contentsOf: .directory(Fixture.url("models/tiny-hf")), options: limits)
            for number in [0, 1] {
                _ = try await model.answer("What is this?", images: [image(number)], options: options)
            }
            return try await model.answer("What is this?", images: [image(0)], options: options)
                .usage.cachedTokens
        }
        let all = try await cached(bytes: nil)
        let none = try await cached(bytes: 0)
        #expect(none == 0 && all > 9)
        // Room for the second conversation only: of the first question, what stands before its image is left at most.
        var some: [Int] = []
        for kilobytes in [8, 16, 32, 64, 128, 256, 512, 1024] {
            some.append(try await cached(bytes: kilobytes << 10))
        }
        #expect(some == some.sorted() && some.contains { $0 < all }, "\(some)")
    }
}

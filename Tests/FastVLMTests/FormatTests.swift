import FastVLM
import FastVLMEmbedded
import Foundation
import TestSupport
import Testing

@Suite("Answers in a format")
struct FormatTests {
    private static let schema = ##"""
        {"type": "object", "properties": {
            "kind": {"enum": ["animal", "plant", "thing"]}, "caption": {"type": "string", "maxLength": 60},
            "count": {"type": "integer", "minimum": 0, "maximum": 20}, "colours": {"type": "array",
            "items": {"type": "string"}, "maxItems": 3}, "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
         "required": ["kind", "caption", "count", "colours", "next"], "additionalProperties": false}
        """##

    private struct Content: Decodable {
        let kind: String
        let caption: String
        let count: Int
        let colours: [String]
        let next: Box?

        final class Box: Decodable {
            let content: Content

            init(from decoder: any Decoder) throws { content = try Content(from: decoder) }
        }

        var isValid: Bool {
            ["animal", "plant", "thing"].contains(kind) && caption.unicodeScalars.count <= 60
                && (0...20).contains(count)
                && colours.count <= 3 && next?.content.isValid ?? true
        }
    }

    private static func samples() throws -> [URL] {
        let folder = Fixture.root.deletingLastPathComponent().deletingLastPathComponent().appending(
            path: "Samples")
        return try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
            .filter { ["png", "jpg", "jpeg"].contains($0.pathExtension) }
            .sorted { $0.lastPathComponent < $1.lastPathComponent }
    }

    @Test("The embedded model answers about images in JSON of a schema, at temperature 1 and any seed")
    func embedded() async throws {
        let model = try await VisionLanguageModel(contentsOf: .embedded)
        let images = try Self.samples()
        try #require(!images.isEmpty)
        for (index, image) in images.prefix(4).enumerated() {
            for seed in 0..<3 as Range<UInt64> {
                var options = GenerationOptions()
                options.temperature = 1
                options.topK = 0
                options.seed = 100 * UInt64(index) + seed
                options.maximumTokens = 150
                options.format = .jsonSchema(Self.schema)
                let answer = try await model.answer(
                    "Describe the image as JSON.", images: [.file(image)], options: options)
                let content = try JSONDecoder().decode(Content.self, from: Data(answer.text.utf8))
                #expect(content.isValid, "\(answer.text)")
                options.format = .jsonObject
                let object = try await model.answer(
                    "Describe the image as JSON.", images: [.file(image)], options: options)
                #expect(try JSONSerialization.jsonObject(with: Data(object.text.utf8)) is [String: Any])
            }
        }
    }

    @Test("A conversation goes on behind an answer in a format, and without one")
    func conversation() async throws {
        let model = try await VisionLanguageModel(contentsOf: .embedded)
        let image = try #require(try Self.samples().first)
        let session = model.chat()
        var options = GenerationOptions()
        options.format = .choice(["yes", "no"])
        let first = try await session.answer("Is this an animal?", images: [.file(image)], options: options)
        #expect(["yes", "no"].contains(first.text) && first.finishReason == .stop)
        options.format = nil
        let free = try await session.answer("What is this?", options: options)
        options.format = .regularExpression("[0-9]{1,3}")
        let number = try await session.answer("How many?", options: options)
        #expect(Int(number.text) != nil && free.usage.cachedTokens > 0 && number.usage.cachedTokens > 0)
    }

    @Test("What is wrong with a format is said before any work, as a fault of the option")
    func refused() async throws {
        let model = try await load()
        let cases: [(AnswerFormat, Int, String, String)] = [
            (.jsonSchema("{"), 256, "format", "cannot be read"),
            (.jsonSchema(#"{"oneOf":[]}"#), 256, "format", "oneOf"),
            (.regularExpression("("), 256, "format", "')' is missing"), (.choice([]), 256, "format", "empty"),
            (.jsonSchema(#"{"type":"string","minLength":50}"#), 10, "maximumTokens", "at least"),
        ]
        for (format, limit, option, words) in cases {
            var options = GenerationOptions()
            options.format = format
            options.maximumTokens = limit
            // An image that is never looked at.
            let error = await #expect(throws: FastVLMError.self) {
                try await model.answer("x", images: [.file(URL(filePath: "/nowhere.png"))], options: options)
            }
            #expect(error?.code == .invalidOption && error?.option == option && error?.kind == .request)
            #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
        }
    }
}

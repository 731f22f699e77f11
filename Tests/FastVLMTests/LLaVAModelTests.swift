import Foundation
import TestSupport
import Testing

@testable import FastVLM

/// LLaVA-1.5 and LLaVA-NeXT through the public face: prompts, answers, a tower in a folder of its own.
@Suite("Tiny LLaVAs as people use them")
struct LLaVAModelTests {
    private static func expected(_ name: String) throws -> ReferenceConversations {
        try ReferenceConversations("llava/\(name).json")
    }

    /// The fixtures have a line break behind each image.
    private func message(_ example: ReferenceConversations.Case, _ expected: ReferenceConversations)
        -> Message
    {
        let images = example.images.flatMap { [Message.Part.image(expected.image($0)), .text("\n")] }
        return Message(.user, images + [.text("What is this?")])
    }

    private func load(_ source: ModelSource) async throws -> VisionLanguageModel {
        var options = LoadOptions()
        options.precision = .float32
        return try await VisionLanguageModel(contentsOf: source, options: options)
    }

    @Test(
        "Prompts, counts and answers are the reference's, the tokenizer a tokenizer.model",
        arguments: [("llava-1.5", "llava_1_5"), ("next", "mistral_instruct")])
    func answers(name: String, template: String) async throws {
        let expected = try Self.expected(name)
        let model = try await load(.directory(Fixture.url("llava/\(name)")))
        #expect(model.information.template == template)
        #expect(model.information.remarks.isEmpty, "\(model.information.remarks)")
        var options = GenerationOptions()
        options.maximumTokens = 64
        for example in expected.cases {
            let message = message(example, expected)
            let ids = example.ids(expected.imageTokenId)
            #expect(try model.promptIDs(messages: [message]) == ids, "\(example.images)")
            #expect(try model.countTokens(messages: [message]) == ids.count)
            let answer = try await model.answer(messages: [message], options: options)
            #expect(answer.tokens.map(\.id) == example.greedy, "\(example.images)")
            #expect(answer.usage.promptTokens + answer.usage.cachedTokens == ids.count)
        }
    }

    @Test("LLaVA-NeXT cuts every image of a conversation; a second one changes nothing about the first")
    func secondImage() async throws {
        let expected = try Self.expected("next")
        let model = try await load(.directory(Fixture.url("llava/next")))
        var options = GenerationOptions()
        options.maximumTokens = 4
        let session = model.chat()
        let first = try await session.answer("Which?", images: [expected.image(1)], options: options)
        #expect(first.usage.imageTokens == expected.images[1].tokens)
        let second = try await session.answer("And this?", images: [expected.image(2)], options: options)
        // Nothing of the first turn is computed again.
        #expect(second.usage.imageTokens == expected.images[2].tokens)
        #expect(second.usage.cachedTokens > expected.images[1].tokens)
    }

    @Test("A checkpoint without a vision tower answers with one of another folder, and is quantised with it")
    func separateTower() async throws {
        let scratch = FileManager.default.temporaryDirectory.appending(path: "tower-\(UUID())")
        defer { try? FileManager.default.removeItem(at: scratch) }
        let (folder, tower) = try SeparateTower.write(below: scratch)
        await #expect(throws: FastVLMError.self) { _ = try await self.load(.directory(folder)) }
        let source = ModelSource.directory(folder, visionTower: tower)
        let model = try await load(source)
        let whole = try await load(.directory(Fixture.url("llava/llava-1.5")))
        let image = try Self.expected("llava-1.5").image(0)
        // A square is the same padded and cropped.
        #expect(try await model.encode(image).projected == whole.encode(image).projected)
        let report = try CheckpointReport(contentsOf: source)
        #expect(report.tokensPerImage == 9 && "\(report)".contains("9 visual tokens"))
        let packed = scratch.appending(path: "packed")
        try await VisionLanguageModel.quantize(
            source, to: packed, precision: .int8, calibration: .none)
        var options = LoadOptions()
        options.precision = .int8
        let direct = try await VisionLanguageModel(contentsOf: source, options: options)
        let again = try await VisionLanguageModel(contentsOf: .directory(packed))
        #expect(again.information.precision == .int8)
        #expect(try await again.encode(image).projected == direct.encode(image).projected)
        // transformers 5 writes the image processor into another file, which becomes a part of the copy too.
        let old = tower.appending(path: "preprocessor_config.json")
        let processor = try JSONSerialization.jsonObject(with: Data(contentsOf: old))
        try JSONSerialization.data(withJSONObject: ["image_processor": processor]).write(
            to: tower.appending(path: "processor_config.json"))
        try FileManager.default.removeItem(at: old)
        let newer = scratch.appending(path: "newer")
        try await VisionLanguageModel.quantize(source, to: newer, precision: .int8, calibration: .none)
        let third = try await VisionLanguageModel(contentsOf: .directory(newer))
        #expect(try await third.encode(image).projected == direct.encode(image).projected)
    }

    @Test("inspect says a range where images are cut into tiles")
    func range() throws {
        let report = try CheckpointReport(contentsOf: .directory(Fixture.url("llava/next")))
        #expect(report.cutsTiles && report.tokensPerImage == 9 && report.mostTokensPerImage == 51)
        #expect("\(report)".contains("in tiles of 42 × 42 → 9 to 51 visual tokens"))
    }
}

/// The small LLaVA-1.5 as the original's program stores it: its tower is CLIP's own folder.
private enum SeparateTower {
    static func write(below scratch: URL) throws -> (model: URL, tower: URL) {
        let source = Fixture.url("llava/llava-1.5")
        let (model, tower) = (scratch.appending(path: "model"), scratch.appending(path: "clip"))
        for folder in [model, tower] {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        }
        for name in ["tokenizer.model", "tokenizer_config.json", "generation_config.json"] {
            try FileManager.default.copyItem(
                at: source.appending(path: name), to: model.appending(path: name))
        }
        try FileManager.default.copyItem(
            at: source.appending(path: "preprocessor_config.json"),
            to: tower.appending(path: "preprocessor_config.json"))
        let data = try Data(contentsOf: source.appending(path: "config.json"))
        let config = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        var vision = config["vision_config"] as? [String: Any] ?? [:]
        vision["model_type"] = "clip_vision_model"
        try write(vision, to: tower)
        var text = config["text_config"] as? [String: Any] ?? [:]
        text["model_type"] = "llava_llama"
        text["mm_vision_tower"] = "openai/clip-vit-tiny-patch14-42"
        text["image_aspect_ratio"] = "pad"
        try write(text, to: model)
        try split(source.appending(path: "model.safetensors"), model, tower)
        return (model, tower)
    }

    private static func write(_ config: [String: Any], to folder: URL) throws {
        try JSONSerialization.data(withJSONObject: config).write(
            to: folder.appending(path: "config.json"))
    }

    /// Writes the tensors of a file to two, under the original's names.
    private static func split(_ file: URL, _ model: URL, _ tower: URL) throws {
        let data = try Data(contentsOf: file)
        let length = data.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
        let header = try #require(
            try JSONSerialization.jsonObject(with: data[8..<8 + length]) as? [String: Any])
        var parts: [URL: (header: [String: Any], body: Data)] = [model: ([:], Data()), tower: ([:], Data())]
        for (name, value) in header.sorted(by: { $0.key < $1.key }) {
            guard var entry = value as? [String: Any], let place = entry["data_offsets"] as? [Int] else {
                continue
            }
            let isTower = name.hasPrefix("model.vision_tower.")
            let folder = isTower ? tower : model
            let new =
                isTower
                ? "vision_model." + name.dropFirst("model.vision_tower.".count)
                : name.replacingOccurrences(of: "model.language_model.", with: "model.")
                    .replacingOccurrences(
                        of: "model.multi_modal_projector.linear_1", with: "model.mm_projector.0"
                    )
                    .replacingOccurrences(
                        of: "model.multi_modal_projector.linear_2", with: "model.mm_projector.2")
            let bytes = data[(8 + length + place[0])..<(8 + length + place[1])]
            let start = parts[folder]?.body.count ?? 0
            entry["data_offsets"] = [start, start + bytes.count]
            parts[folder]?.header[new] = entry
            parts[folder]?.body.append(bytes)
        }
        for (folder, part) in parts {
            let header = try JSONSerialization.data(withJSONObject: part.header)
            let size = withUnsafeBytes(of: UInt64(header.count).littleEndian) { Data($0) }
            try (size + header + part.body).write(to: folder.appending(path: "model.safetensors"))
        }
    }
}

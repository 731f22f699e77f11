import Checkpoints
import Foundation
import Generation
import ImageInput
import Models
import Tensors
import TestSupport
import Testing
import Tokenization

/// A small seeded LLaVA-1.5 and LLaVA-NeXT against transformers: visual tokens, logits and greedy answers.
@Suite("Whole tiny LLaVAs equal transformers'")
struct LLaVATests {
    private static let folder = Fixture.url("llava/llava-1.5")

    private static func expected(_ name: String) throws -> ReferenceConversations {
        try ReferenceConversations("llava/\(name).json")
    }

    private func pictures(_ name: String) throws -> [RGBImage] {
        let expected = try Self.expected(name)
        return try expected.images.indices.map(expected.picture)
    }

    @Test("Visual tokens of images of all shapes in float32", arguments: ["llava-1.5", "next"])
    func visualTokens(name: String) throws {
        let tensors = try CheckpointTensors(Fixture.url("llava/\(name).safetensors"))
        let expected = try Self.expected(name)
        let checkpoint = try Checkpoint(directory: Fixture.url("llava/\(name)"))
        let changes = checkpoint.remarks.filter { $0.severity == .changesAnswers }
        #expect(changes.isEmpty, "\(changes)")
        for set in InstructionSet.available {
            let model = try LLaVAModel(checkpoint, set: set)
            for (index, picture) in try pictures(name).enumerated() {
                let got = try model.visualTokens(picture)
                #expect(got.count == expected.images[index].tokens * 48)
                let error = relativeError(got, try tensors["visual.\(index)"])
                #expect(error <= 1e-4, "image \(index), \(set): \(error)")
            }
        }
    }

    @Test("LLaVA-1.5 pads where it is asked to")
    func padding() throws {
        let tensors = try CheckpointTensors(Fixture.url("llava/llava-1.5.safetensors"))
        let model = try LLaVAModel(Checkpoint(directory: Self.folder), geometry: .pad)
        for (index, picture) in try pictures("llava-1.5").enumerated() {
            let error = relativeError(
                try model.visualTokens(picture), try tensors["visual.pad.\(index)"])
            #expect(error <= 1e-4, "image \(index): \(error)")
        }
    }

    @Test("Last logits and 64 greedy ids in float32", arguments: ["llava-1.5", "next"])
    func answers(name: String) throws {
        let tensors = try CheckpointTensors(Fixture.url("llava/\(name).safetensors"))
        let (expected, pictures) = (try Self.expected(name), try pictures(name))
        let model = try LLaVAModel(Checkpoint(directory: Fixture.url("llava/\(name)")))
        for (number, example) in expected.cases.enumerated() {
            let request = try model.request(
                example.chunks, example.images.map { pictures[$0] }, tokens: example.greedy.count)
            let error = relativeError(try model.logits(request), try tensors["logits.\(number)"])
            #expect(error <= 1e-4, "case \(number): \(error)")
            let outcome = try model.engine.generate(request)
            #expect(example.greedy.count >= 64 && outcome.ids == example.greedy, "case \(number)")
            #expect(outcome.imagePositions == example.tokens.reduce(0, +), "case \(number)")
        }
    }

    @Test(
        "Other precisions stay close",
        arguments: [(Precision.bfloat16, 0.999), (.int8, 0.98)], ["llava-1.5", "next"])
    func precisions(precision: (Precision, Double), name: String) throws {
        let tensors = try CheckpointTensors(Fixture.url("llava/\(name).safetensors"))
        let model = try LLaVAModel(
            Checkpoint(directory: Fixture.url("llava/\(name)")), precision.0)
        for (index, picture) in try pictures(name).enumerated() {
            let similarity = cosine(
                try model.visualTokens(picture), try tensors["visual.\(index)"])
            #expect(similarity >= precision.1, "image \(index): \(similarity)")
        }
    }

    @Test("The configuration is read: tower, layer, class token, geometry, decoder")
    func configuration() throws {
        let llava = try Checkpoint(directory: Self.folder)
        guard case .visionTransformer(let tower) = llava.configuration.vision else {
            Issue.record("\(llava.configuration.vision)")
            return
        }
        #expect(tower.layers == 2 && tower.storedLayers == 3 && tower.hasClassToken && !tower.keepsClassToken)
        #expect(tower.activation == .quickGelu && tower.hasPreNorm && !tower.hasPatchBias)
        #expect(llava.configuration.visualTokens == 9 && llava.configuration.visualTokenRange == 9...9)
        #expect(llava.configuration.preprocessing.geometry == .crop)
        #expect(llava.configuration.text.kind == .llama && llava.layout.family == .huggingFace)
        let next = try Checkpoint(directory: Fixture.url("llava/next"))
        guard case .anyResolution(let tiling) = next.configuration.preprocessing.tiling else {
            Issue.record("\(next.configuration.preprocessing)")
            return
        }
        #expect(tiling.mostTiles == nil && tiling.merge == .rows && tiling.tilesSeveralImages)
        #expect(tiling.canvases.count == 5 && tiling.roundsPadding)
        #expect(next.configuration.text.kind == .mistral)
        // 9 of the whole image, 36 of two by two tiles, 6 ends of rows.
        #expect(next.configuration.visualTokenRange == 9...51)
    }

    // MARK: - Layouts

    private static func older(_ name: String) -> String {
        guard name != "lm_head.weight" else { return "language_model.lm_head.weight" }
        return name.replacingOccurrences(of: "model.vision_tower.", with: "vision_tower.vision_model.")
            .replacingOccurrences(of: "model.language_model.", with: "language_model.model.")
            .replacingOccurrences(of: "model.multi_modal_projector.", with: "multi_modal_projector.")
            .replacingOccurrences(of: "model.image_newline", with: "image_newline")
    }

    @Test("The hub's files, named as before transformers 4.52", arguments: ["llava-1.5", "next"])
    func olderNames(name: String) throws {
        let source = Fixture.url("llava/\(name)")
        let positions = try Tensor((0..<10).map(Float.init), shape: [1, 10])
        try withChanged(
            source, rename: Self.older,
            adding: [("vision_tower.vision_model.embeddings.position_ids", positions)]
        ) { folder in
            let checkpoint = try Checkpoint(directory: folder)
            #expect(checkpoint.layout.family == .huggingFace)
            try expectSameWeights(checkpoint, Checkpoint(directory: source))
        }
    }

    /// Names of the original's program.
    private static func original(_ name: String) -> String {
        name.replacingOccurrences(
            of: "model.vision_tower.", with: "model.vision_tower.vision_tower.vision_model."
        )
        .replacingOccurrences(of: "model.language_model.", with: "model.")
        .replacingOccurrences(of: "model.multi_modal_projector.linear_1", with: "model.mm_projector.0")
        .replacingOccurrences(of: "model.multi_modal_projector.linear_2", with: "model.mm_projector.2")
    }

    private static func original(_ config: inout [String: Any], keepsTower: Bool) {
        let vision = config["vision_config"]
        config = (config["text_config"] as? [String: Any] ?? [:]).filter { $0.key != "architectures" }
        config["model_type"] = "llava"
        config["mm_vision_tower"] = "openai/clip-vit-tiny-patch14-42"
        config["mm_hidden_size"] = 32
        config["mm_projector_type"] = "mlp2x_gelu"
        config["mm_vision_select_layer"] = -2
        config["mm_vision_select_feature"] = "patch"
        config["image_aspect_ratio"] = "pad"
        if keepsTower { config["vision_config"] = vision }
    }

    /// The original LLaVA-1.5: without its tower, which is in a folder of its own.
    private func withOriginal<Result>(
        towerConfig: (inout [String: Any]) -> Void = { _ in }, towerNames: (String) -> String = { $0 },
        _ body: (_ model: URL, _ tower: URL) throws -> Result
    ) throws -> Result {
        let (tower, logit) = ("model.vision_tower.", try Tensor([2.5], shape: [1]))
        return try withChanged(
            Self.folder, rename: { $0.hasPrefix(tower) ? nil : Self.original($0) },
            leavingOut: ["preprocessor_config.json", "chat_template.jinja"],
            config: { Self.original(&$0, keepsTower: false) }
        ) { model in
            try withChanged(
                Self.folder,
                rename: {
                    $0.hasPrefix(tower) ? towerNames("vision_model." + $0.dropFirst(tower.count)) : nil
                },
                adding: [("logit_scale", logit), ("text_model.final_layer_norm.weight", logit)],
                config: { config in
                    var vision = config["vision_config"] as? [String: Any] ?? [:]
                    vision["model_type"] = "clip_vision_model"
                    config = ["model_type": "clip", "vision_config": vision, "text_config": [String: Any]()]
                    towerConfig(&config)
                }
            ) { try body(model, $0) }
        }
    }

    @Test("The original's files say that their tower is not in them, and take it from a folder")
    func separateTower() throws {
        try withOriginal { model, tower in
            do {
                _ = try Checkpoint(directory: model)
                Issue.record("a checkpoint without a tower was taken")
            } catch {
                #expect("\(error)".contains("openai/clip-vit-tiny-patch14-42"), "\(error)")
                #expect("\(error)".contains("--tower"), "\(error)")
            }
            let checkpoint = try Checkpoint(directory: model, tower: tower)
            #expect(checkpoint.layout.family == .llava)
            #expect(checkpoint.configuration.preprocessing.geometry == .pad)
            try expectSameWeights(checkpoint, Checkpoint(directory: Self.folder))
            let tensors = try CheckpointTensors(Fixture.url("llava/llava-1.5.safetensors"))
            let loaded = try LLaVAModel(checkpoint)
            for (index, picture) in try pictures("llava-1.5").enumerated() {
                let error = relativeError(
                    try loaded.visualTokens(picture), try tensors["visual.pad.\(index)"])
                #expect(error <= 1e-4, "image \(index): \(error)")
            }
        }
        // The vision model alone, and names without its prefix.
        try withOriginal(
            towerConfig: { $0 = $0["vision_config"] as? [String: Any] ?? [:] },
            towerNames: { String($0.dropFirst("vision_model.".count)) }
        ) { model, tower in
            try expectSameWeights(
                Checkpoint(directory: model, tower: tower), Checkpoint(directory: Self.folder))
        }
    }

    @Test("A folder that holds another tower, or none, is refused by what it is")
    func wrongTower() throws {
        func refusal(_ model: URL, _ tower: URL) -> String {
            do {
                _ = try Checkpoint(directory: model, tower: tower)
                return ""
            } catch { return "\(error)" }
        }
        try withOriginal { model, tower in
            #expect(refusal(Self.folder, tower).contains("a vision tower of its own"))
            #expect(refusal(model, Self.folder).contains("only clip, siglip"))
            #expect(refusal(model, Fixture.url("llava")).contains("no config.json"))
        }
        try withOriginal(
            towerConfig: {
                var vision = $0["vision_config"] as? [String: Any] ?? [:]
                vision["image_size"] = 56
                $0["vision_config"] = vision
            }
        ) { model, tower in
            #expect(refusal(model, tower).contains("56"), "\(refusal(model, tower))")
        }
        try withOriginal(towerNames: { $0.replacingOccurrences(of: "mlp.fc1", with: "mlp.fc7") }) {
            model, tower in
            let text = refusal(model, tower)
            #expect(text.contains("\(tower.lastPathComponent)/model.safetensors"), "\(text)")
            #expect(text.contains("mlp.fc7"), "\(text)")
        }
    }

    @Test("The original LLaVA-NeXT: sizes are width and height, its tower is in the files")
    func originalNext() throws {
        let source = Fixture.url("llava/next")
        try withChanged(
            source, rename: Self.original,
            config: {
                Self.original(&$0, keepsTower: true)
                $0["model_type"] = "llava_mistral"
                $0["image_aspect_ratio"] = "anyres"
                $0["mm_patch_merge_type"] = "spatial_unpad"
                $0["image_grid_pinpoints"] = [[42, 84], [84, 42], [84, 84], [126, 42], [42, 126]]
            }
        ) { folder in
            // The processor's sizes are the same list, which means the same there.
            let checkpoint = try Checkpoint(directory: folder)
            try expectSameWeights(checkpoint, Checkpoint(directory: source))
            guard case .anyResolution(let tiling) = checkpoint.configuration.preprocessing.tiling else {
                Issue.record("\(checkpoint.configuration.preprocessing)")
                return
            }
            #expect(tiling.canvases[0] == .init(height: 84, width: 42))
            #expect(!tiling.roundsPadding && tiling.merge == .rows && tiling.tilesSeveralImages)
            #expect(checkpoint.configuration.text.kind == .mistral)
        }
    }

    @Test("With the original's template, text behind an image begins a text, whatever `legacy` says")
    func textBehindImages() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "llava-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try Fixture.data("sentencepiece/vicuna.model").write(to: folder.appending(path: "tokenizer.model"))
        try Data("{\"legacy\": false}".utf8).write(to: folder.appending(path: "tokenizer_config.json"))
        let tokenizer = try Tokenizer(directory: folder)
        let text = "\nWhat is this? ASSISTANT:"
        #expect(tokenizer.encode(text) != tokenizer.encode(text, startsText: false))
        for (template, startsText) in [(ChatTemplate.vicuna1, true), (.llavaHub, false)] {
            let pieces = try template.render([.user("What is this?", images: 0..<1)])
            let prompt = try Prompt(
                pieces, tokenizer: tokenizer, template: template, startsSequence: true)
            let ids = tokenizer.encode(text, startsText: startsText)
            #expect(prompt.elements.last == Prompt.Element.tokens(ids))
        }
    }

    @Test("Mistral's window of positions bounds the context, with a remark")
    func slidingWindow() throws {
        func length(_ window: Any?) throws -> String {
            try withChanged(
                Fixture.url("llava/next"),
                config: { config in
                    var text = config["text_config"] as? [String: Any] ?? [:]
                    text["sliding_window"] = window
                    text["max_position_embeddings"] = 8192
                    config["text_config"] = text
                }
            ) { folder in
                let checkpoint = try Checkpoint(directory: folder)
                let hasRemark = checkpoint.remarks.contains { "\($0)".contains("sliding_window") }
                return "\(checkpoint.configuration.maximumSequenceLength)\(hasRemark ? ", remark" : "")"
            }
        }
        #expect(try length(NSNull()) == "8192")
        #expect(try length(nil) == "4096, remark")
        #expect(try length(512) == "512, remark")
        #expect(try length(16384) == "8192")
    }
}

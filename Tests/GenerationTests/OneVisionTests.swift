import Checkpoints
import Foundation
import Generation
import ImageInput
import Models
import Tensors
import TestSupport
import Testing
import Tokenization

/// A small seeded LLaVA-OneVision against transformers: tiles, visual tokens, logits and greedy answers.
@Suite("A whole tiny LLaVA-OneVision equals transformers'")
struct OneVisionTests {
    /// Of each image, what transformers' processor makes of it.
    struct Tiles: Decodable, Sendable {
        struct Image: Decodable, Sendable {
            let tiles: Int
            let levels: String
        }

        let tile: Int
        let images: [Image]
    }

    private static let fixture = "onevision/expected.json"

    private struct Model {
        let engine: GenerationEngine
        let preprocessor: ImagePreprocessor
        let expected: ReferenceConversations
        let compute: Compute

        init(
            _ precision: Precision, set: InstructionSet? = nil, threads: Int = 2,
            checkpoint: Checkpoint? = nil
        ) throws {
            let checkpoint =
                try checkpoint ?? Checkpoint(directory: Fixture.url("onevision/tiny"))
            var configuration = checkpoint.configuration
            // The fixtures run to their length: nothing ends them early.
            configuration.endOfSequenceIDs = []
            configuration.maximumSequenceLength = 2048
            compute = try Compute(threads: threads, instructionSet: set)
            let network = try VisionLanguageNetwork(
                checkpoint.weights, configuration: configuration, precision: precision, compute: compute)
            engine = GenerationEngine(
                network: network, tokenizer: try Tokenizer(directory: checkpoint.directory), compute: compute)
            preprocessor = try ImagePreprocessor(configuration.preprocessing)
            expected = try ReferenceConversations(OneVisionTests.fixture)
        }

        func pixels(_ image: Int, isSingleImage: Bool) throws -> PixelTensor {
            let variants = try #require(try preprocessor.variants(expected.picture(image)))
            return isSingleImage ? variants.singleImage : try #require(variants.multiImage)
        }

        func visualTokens(_ image: Int, isSingleImage: Bool = true) throws -> [Float] {
            try engine.encode(pixels(image, isSingleImage: isSingleImage)).projected.floats()
        }

        func request(_ example: ReferenceConversations.Case) throws -> GenerationRequest {
            let isSingleImage = example.images.count == 1
            var request = GenerationRequest(
                prompt: Prompt(chunks: example.chunks),
                images: try example.images.map { try pixels($0, isSingleImage: isSingleImage) })
            request.maximumTokens = example.greedy.count
            return request
        }

        /// Scores of the position after the prompt.
        func logits(_ example: ReferenceConversations.Case) throws -> [Float] {
            try engine.logits(after: request(example), on: compute)
        }
    }

    private func reference() throws -> CheckpointTensors {
        try CheckpointTensors(Fixture.url("onevision/expected.safetensors"))
    }

    @Test("The configuration is read: tower, layer, tiles, the context that follows")
    func configuration() throws {
        let checkpoint = try Checkpoint(directory: Fixture.url("onevision/tiny"))
        let configuration = checkpoint.configuration
        guard case .visionTransformer(let tower) = configuration.vision,
            case .anyResolution(let tiling) = configuration.preprocessing.tiling
        else {
            Issue.record("\(configuration)")
            return
        }
        #expect(tower.layers == 2 && tower.heads == 2 && tower.activation == .tanhGelu)
        #expect(tower.tokens == 16 && configuration.visualTokens == 16 && configuration.tokensPerSide == 4)
        #expect(tiling.canvases.count == 36 && tiling.mostTiles == 9 && tiling.roundsPadding)
        #expect(configuration.preprocessing.mean == [0.5, 0.5, 0.5])
        #expect(configuration.imageTokenID == (try ReferenceConversations(Self.fixture).imageTokenId))
        #expect(checkpoint.layout.family == .huggingFace)
        #expect(checkpoint.remarks.filter { $0.severity == .changesAnswers }.isEmpty, "\(checkpoint.remarks)")
        // 16 + 9 · 16 · 1.21 + 24 tokens of an image fit into what is usual.
        #expect(configuration.visualTokenRange == 16...214)
        #expect(configuration.usualSequenceLength == 8192)
    }

    @Test("Tiles have the pixels of transformers' processor with Pillow, bit for bit")
    func tiles() throws {
        let model = try Model(.float32)
        let expected = try JSONDecoder().decode(Tiles.self, from: Fixture.data(Self.fixture))
        for (index, image) in expected.images.enumerated() {
            let pixels = try model.pixels(index, isSingleImage: true)
            #expect(pixels.tiles == image.tiles && pixels.size == expected.tile)
            #expect(pixels.values.count == image.tiles * pixels.size * pixels.size * 3)
            // FNV-1a over the levels of 8 bits.
            let hash = pixels.values.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { hash, value in
                (hash ^ UInt64(((value * 0.5 + 0.5) * 255).rounded())) &* 0x100_0000_01B3
            }
            let text = String(hash, radix: 16)
            #expect(String(repeating: "0", count: 16 - text.count) + text == image.levels, "image \(index)")
        }
    }

    @Test("Visual tokens of images of all shapes, alone and among others, in float32")
    func visualTokens() throws {
        let tensors = try reference()
        for set in InstructionSet.available {
            let model = try Model(.float32, set: set)
            for (index, image) in model.expected.images.enumerated() {
                let got = try model.visualTokens(index)
                #expect(got.count == image.tokens * 48)
                let error = relativeError(got, try tensors["visual.\(index)"])
                #expect(error <= 1e-4, "image \(index), \(set): \(error)")
            }
            for index in [1, 2] {
                let got = try model.visualTokens(index, isSingleImage: false)
                let error = relativeError(got, try tensors["visual.several.\(index)"])
                #expect(got.count == 17 * 48 && error <= 1e-4, "image \(index) of two, \(set): \(error)")
            }
        }
    }

    @Test("Last logits in float32")
    func logits() throws {
        let tensors = try reference()
        for set in InstructionSet.available {
            let model = try Model(.float32, set: set)
            for (number, example) in model.expected.cases.enumerated() {
                let error = relativeError(try model.logits(example), try tensors["logits.\(number)"])
                #expect(error <= 1e-4, "case \(number), \(set): \(error)")
            }
        }
    }

    @Test("Greedy ids over 64 tokens, with none, one and several images")
    func greedy() throws {
        let model = try Model(.float32)
        for (number, example) in model.expected.cases.enumerated() {
            #expect(example.greedy.count >= 64)
            let outcome = try model.engine.generate(model.request(example))
            #expect(outcome.ids == example.greedy, "case \(number)")
            #expect(outcome.imagePositions == example.tokens.reduce(0, +), "case \(number)")
        }
    }

    @Test(
        "Other precisions stay close",
        arguments: [(Precision.bfloat16, 0.999), (.int8, 0.98)])
    func precisions(precision: Precision, bound: Double) throws {
        let tensors = try reference()
        for set in InstructionSet.available {
            let model = try Model(precision, set: set)
            for index in model.expected.images.indices {
                let similarity = cosine(
                    try model.visualTokens(index), try tensors["visual.\(index)"])
                #expect(similarity >= bound, "image \(index), \(set): \(similarity)")
            }
        }
    }

    @Test("Tiles go through the encoder between the tokens of another answer, with the same result")
    func slices() throws {
        let model = try Model(.float32)
        let examples = model.expected.cases
        var outcomes: [Int: GenerationOutcome] = [:]
        var pieces: [Int] = []
        for number in [0, 5] {
            try model.engine.add(model.request(examples[number]), cancellation: Cancellation()) { event in
                switch event {
                case .finished(let outcome, let error):
                    #expect(error == nil)
                    outcomes[number] = outcome
                case .piece: pieces.append(number)
                default: break
                }
            }
        }
        while model.engine.step() {}
        #expect(outcomes[0]?.ids == examples[0].greedy && outcomes[5]?.ids == examples[5].greedy)
        // The text's answer goes on while 37 tiles are encoded.
        let first = try #require(pieces.firstIndex(of: 5))
        #expect(pieces[..<first].filter { $0 == 0 }.count > 1)
    }

    @Test("A request that is cancelled leaves nothing of its encoding behind")
    func cancelled() throws {
        let model = try Model(.float32)
        let example = model.expected.cases[2]
        let whole = try model.engine.generate(model.request(example))
        for steps in [1, 3] {
            let cancellation = Cancellation()
            let other = Cancellation()
            var ended = false
            var request = try model.request(model.expected.cases[5])
            request.images[0].identity = 1 << 20 + steps
            try model.engine.add(request, cancellation: cancellation) {
                if case .finished(_, let error) = $0 { ended = error is TensorError }
            }
            // Beside another request images go forward in slices of 40 ms only.
            try model.engine.add(model.request(model.expected.cases[0]), cancellation: other) { _ in }
            for _ in 0..<steps { _ = model.engine.step() }
            cancellation.cancel()
            other.cancel()
            while model.engine.step() {}
            #expect(ended)
            #expect(try model.engine.generate(model.request(example)).ids == whole.ids)
        }
    }

    // MARK: - Layouts

    /// The fixture under other names.
    private func renamed(
        _ rename: (String) -> String, config change: (inout [String: Any]) -> Void
    ) throws -> Checkpoint {
        let source = Fixture.url("onevision/tiny")
        let folder = FileManager.default.temporaryDirectory.appending(path: "onevision-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = try SafetensorsFile(contentsOf: source.appending(path: "model.safetensors"))
        try SafetensorsWriter.write(
            file.tensors.map { (rename($0.name), try file.tensor($0)) }.sorted { $0.0 < $1.0 },
            to: folder.appending(path: "model.safetensors"))
        let data = try Data(contentsOf: source.appending(path: "config.json"))
        var config = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        change(&config)
        try JSONSerialization.data(withJSONObject: config).write(to: folder.appending(path: "config.json"))
        for name in ["tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"] {
            try FileManager.default.copyItem(
                at: source.appending(path: name), to: folder.appending(path: name))
        }
        let checkpoint = try Checkpoint(directory: folder)
        _ = try Tokenizer(directory: folder)
        return checkpoint
    }

    private func expectSame(_ checkpoint: Checkpoint) throws {
        let reference = try Checkpoint(directory: Fixture.url("onevision/tiny"))
        #expect(checkpoint.weights.names == reference.weights.names)
        for name in reference.weights.names {
            let shape = try #require(reference.weights.shape(of: name))
            let (got, expected) = try (
                checkpoint.weights.tensor(name, shape: shape), reference.weights.tensor(name, shape: shape)
            )
            #expect(got.floats() == expected.floats(), "\(name)")
        }
    }

    @Test("The hub's files, named as before transformers 4.52")
    func olderNames() throws {
        let checkpoint = try renamed { name in
            name.replacingOccurrences(of: "model.vision_tower.", with: "vision_tower.vision_model.")
                .replacingOccurrences(of: "model.language_model.", with: "language_model.model.")
                .replacingOccurrences(of: "model.multi_modal_projector.", with: "multi_modal_projector.")
                .replacingOccurrences(of: "model.image_newline", with: "image_newline")
        } config: { _ in
        }
        #expect(checkpoint.layout.family == .huggingFace)
        try expectSame(checkpoint)
    }

    @Test("The original's names and configuration")
    func original() throws {
        let checkpoint = try renamed { name in
            name.replacingOccurrences(
                of: "model.vision_tower.", with: "model.vision_tower.vision_tower.vision_model."
            )
            .replacingOccurrences(of: "model.language_model.", with: "model.")
            .replacingOccurrences(of: "model.multi_modal_projector.linear_1", with: "model.mm_projector.0")
            .replacingOccurrences(of: "model.multi_modal_projector.linear_2", with: "model.mm_projector.2")
        } config: { config in
            let text = config["text_config"] as? [String: Any] ?? [:]
            let vision = config["vision_config"] as? [String: Any] ?? [:]
            config = text.filter { !["model_type", "architectures"].contains($0.key) }
            config["model_type"] = "llava_qwen2"
            config["mm_vision_tower"] = "google/siglip-so400m-patch14-384"
            config["mm_hidden_size"] = 48
            config["mm_projector_type"] = "mlp2x_gelu"
            config["mm_vision_select_layer"] = -2
            config["mm_vision_select_feature"] = "patch"
            config["mm_patch_merge_type"] = "spatial_unpad"
            config["image_aspect_ratio"] = "anyres_max_9"
            config["image_grid_pinpoints"] = (1...6).flatMap { y in (1...6).map { [30 * y, 30 * $0] } }
            // The published ones have none; this tower's heads are known to nobody.
            config["vision_config"] = vision
        }
        try expectSame(checkpoint)
        guard case .anyResolution(let tiling) = checkpoint.configuration.preprocessing.tiling,
            case .visionTransformer(let tower) = checkpoint.configuration.vision
        else {
            Issue.record("\(checkpoint.configuration)")
            return
        }
        #expect(tiling.roundsPadding == false && tiling.mostTiles == 9 && tiling.canvases.count == 36)
        #expect(checkpoint.layout.family == .llava)
        // Whatever mm_vision_select_layer says, the original takes the last block that it keeps.
        #expect(tower.layers == 2)
    }
}

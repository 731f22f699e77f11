import Checkpoints
import FastVLM
import FastVLMEmbedded
import Foundation
import Models
import Tensors
import TestSupport
import Testing

/// Copies of the embedded model that compute the same function with channels a hundred or a thousand times as large as the
/// others, which real networks have by themselves.
@Suite("Integers of models with outlier channels") struct OutlierTests {
    struct Copy: Sendable, CustomTestStringConvertible {
        /// The power of two that channels are multiplied with.
        let exponent: Int
        /// So many in front of every product.
        let channels: Int
        let precision: Precision
        var testDescription: String { "\(channels) channels × 2^\(exponent) in \(precision.rawValue)" }
    }

    static let copies = [Precision.int8, .int4].flatMap { precision in
        [8, 12].flatMap { exponent in
            [2, 8].map { Copy(exponent: exponent, channels: $0, precision: precision) }
        }
    }

    private static let repository = Fixture.root.deletingLastPathComponent().deletingLastPathComponent()
    private static let original = repository.appending(path: "Models/fastvlm-small")

    /// A folder that goes away with the test.
    private final class Folder {
        let url = FileManager.default.temporaryDirectory.appending(path: "outliers-\(UUID())")
        deinit { try? FileManager.default.removeItem(at: url) }
    }

    /// Channels and what makes and reads them, by the names of Hugging Face; of a fused matrix from row `first`.
    private static func sites(_ tensors: [String: Tensor]) -> [(makes: [String], first: Int, reads: [String])]
    {
        var sites: [(makes: [String], first: Int, reads: [String])] = []
        for name in tensors.keys.sorted() {
            if name.hasSuffix(".input_layernorm.weight") {
                let layer = name.dropLast("input_layernorm.weight".count)
                let (attention, mlp) = ("\(layer)self_attn.", "\(layer)mlp.")
                sites += [
                    ([name], 0, ["q", "k", "v"].map { "\(attention)\($0)_proj.weight" }),
                    (
                        ["\(layer)post_attention_layernorm.weight"], 0,
                        ["\(mlp)gate_proj.weight", "\(mlp)up_proj.weight"]
                    ),
                    (["\(mlp)up_proj.weight"], 0, ["\(mlp)down_proj.weight"]),
                    (
                        ["\(attention)v_proj.weight", "\(attention)v_proj.bias"], 0,
                        ["\(attention)o_proj.weight"]
                    ),
                ]
            } else if name.hasSuffix(".mlp.conv.bn.weight") {
                let mlp = name.dropLast("conv.bn.weight".count)
                sites.append(([name, "\(mlp)conv.bn.bias"], 0, ["\(mlp)fc1.weight"]))
            } else if name.contains("vision_tower"), name.hasSuffix(".norm.weight") {
                let block = name.dropLast("norm.weight".count)
                let fused = "\(block)token_mixer.qkv.weight"
                sites.append(([name, "\(block)norm.bias"], 0, [fused]))
                let channels = tensors[name]?.count ?? 0
                sites.append(([fused], 2 * channels, ["\(block)token_mixer.proj.weight"]))
            }
        }
        return sites
    }

    private static func outliers(_ copy: Copy) throws -> Folder {
        let folder = Folder()
        try FileManager.default.copyItem(at: original, to: folder.url)
        let file = folder.url.appending(path: "model.safetensors")
        let stored = try SafetensorsFile(contentsOf: file)
        let names = stored.tensors.map(\.name)
        let tensors = try Dictionary(
            uniqueKeysWithValues: stored.tensors.map { ($0.name, try stored.tensor($0)) })
        var powers: [String: PowersOfTwo] = [:]
        var generator = SeededGenerator("\(copy)")
        let sites = sites(tensors)
        // Layers of the decoder; kernels of the tower, and its layers with attention.
        try #require(sites.count == 6 * 4 + 12 + 7 * 2, "\(sites.count) sites")
        for site in sites {
            let reader = try #require(tensors[site.reads[0]])
            let chosen = (0..<reader.shape[1]).shuffled(using: &generator).prefix(copy.channels)
            for channel in chosen {
                for name in site.makes {
                    powers[name, default: .init()].rows[site.first + channel] = copy.exponent
                }
                for name in site.reads { powers[name, default: .init()].columns[channel] = -copy.exponent }
            }
        }
        let changed = try names.map { name in
            let tensor = try #require(tensors[name])
            return (name, try powers[name].map { try tensor.multiplied(by: $0) } ?? tensor)
        }
        try FileManager.default.removeItem(at: file)
        try SafetensorsWriter.write(changed, metadata: stored.metadata, to: file)
        return folder
    }

    private static func load(_ url: URL, _ precision: Precision?) async throws -> VisionLanguageModel {
        var options = LoadOptions()
        options.precision = precision
        return try await VisionLanguageModel(contentsOf: .directory(url), options: options)
    }

    private static let questions = [
        ("single-banana.jpg", "What is this?"), ("count-crown.jpg", "How many crowns are there?"),
        ("pair-taco.png", "Which is smaller, the taco or the broom?"),
        ("word-raps.jpg", "What does it say?"), ("receipt-10-62.jpg", "What is the total?"),
    ].map { (ImageSource.file(repository.appending(path: "Samples/\($0)")), $1) }

    private static func answers(_ model: VisionLanguageModel) async throws -> [String] {
        var answers: [String] = []
        for (image, question) in questions {
            answers.append(try await model.answer(question, images: [image]).text)
        }
        return answers
    }

    @Test("Answers and features are those of the model without them", arguments: copies)
    func answers(copy: Copy) async throws {
        let folder = try Self.outliers(copy)
        let (plain, model) = (
            try await Self.load(Self.original, copy.precision),
            try await Self.load(folder.url, copy.precision)
        )
        let exact = try await Self.load(Self.original, .float32)
        #expect(try await Self.answers(model) == Self.answers(exact))
        let image = Self.questions[0].0
        let wanted = try await exact.encode(image).projected
        func error(_ model: VisionLanguageModel) async throws -> Double {
            let got = try await model.encode(image).projected
            return Self.distance(got, wanted)
        }
        let (with, without) = (try await error(model), try await error(plain))
        #expect(with <= 1.25 * without, "features \(with) off, those of the plain model \(without)")
        let text = "How many cats are there? What is on the left? What does it say? What is the total?"
        let (score, expected) = (try await model.score(text), try await exact.score(text))
        let (reference, bound) = (try await plain.score(text), copy.precision == .int8 ? 0.05 : 0.3)
        let off = Self.meanDifference(score, expected)
        #expect(off <= Self.meanDifference(reference, expected) + bound, "log-probabilities \(off) off")
    }

    @Test(
        "A quantised folder answers as loading in its precision does, and calibrated it answers right",
        arguments: [Precision.int8, .int4])
    func quantised(precision: Precision) async throws {
        let folder = try Self.outliers(Copy(exponent: 8, channels: 2, precision: precision))
        let target = Folder()
        try await VisionLanguageModel.quantize(
            .directory(folder.url), to: target.url, precision: precision, calibration: .none)
        let (loaded, packed) = (
            try await Self.load(folder.url, precision), try await Self.load(target.url, nil)
        )
        #expect(packed.information.precision == precision)
        for (image, _) in Self.questions {
            #expect(try await loaded.encode(image).projected == packed.encode(image).projected)
        }
        #expect(try await Self.answers(loaded) == Self.answers(packed))
        let text = "What does it say? What is the total?"
        #expect(try await loaded.score(text) == packed.score(text))

        let other = Folder()
        let errors = try await VisionLanguageModel.quantize(
            .directory(folder.url), to: other.url, precision: precision)
        // Of the weights that were rounded, not of those with outliers.
        let bound = precision == .int8 ? 0.02 : 0.3
        #expect(
            errors.count == 6 * 6 && errors.allSatisfy { $0.relativeError < bound }, "\(errors.prefix(3))")
        // The first and the last of six layers keep 8 bits.
        for error in errors where precision == .int4 && error.matrix.hasSuffix("mlp.down.weight") {
            let isOuter = error.matrix.contains("layers.0.") || error.matrix.contains("layers.5.")
            #expect((error.relativeError < 0.01) == isOuter, "\(error)")
        }
        let exact = try await Self.load(Self.original, .float32)
        #expect(try await Self.answers(Self.load(other.url, nil)) == Self.answers(exact))
    }

    @Test("Nothing of the embedded model is touched")
    func untouched() throws {
        let checkpoint = try Checkpoint(directory: Self.original)
        let balanced = EqualizedWeights(checkpoint.weights, configuration: checkpoint.configuration)
        for name in checkpoint.weights.names {
            let shape = try #require(checkpoint.weights.shape(of: name))
            let (got, stored) = (
                try balanced.tensor(name, shape: shape), try checkpoint.weights.tensor(name, shape: shape)
            )
            #expect(got.bytes.elementsEqual(stored.bytes), "\(name)")
        }
        #expect(balanced.exponents == [])
    }

    /// ‖got − wanted‖ / ‖wanted‖.
    private static func distance(_ got: [Float], _ wanted: [Float]) -> Double {
        var (difference, size) = (0.0, 0.0)
        for (a, b) in zip(got, wanted) {
            difference += Double(a - b) * Double(a - b)
            size += Double(b) * Double(b)
        }
        return (difference / size).squareRoot()
    }

    private static func meanDifference(_ a: TextScore, _ b: TextScore) -> Double {
        let differences = zip(a.tokens, b.tokens).map { abs(Double($0.logProbability - $1.logProbability)) }
        return differences.reduce(0, +) / Double(max(differences.count, 1))
    }
}

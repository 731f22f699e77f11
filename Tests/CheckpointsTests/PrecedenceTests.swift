import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

/// A case of precedence.json: changes to the small checkpoint, and what transformers read from it.
struct PrecedenceCase: Decodable, Sendable, CustomTestStringConvertible {
    struct Change: Decodable, Sendable {
        let file: String
        let path: [String]
        let value: AnyValue?
        let remove: Bool?
    }

    struct Sampling: Decodable, Sendable, Equatable {
        var samples: Bool?
        var temperature: Double?
        var topP: Double?
        var topK: Int?
        var repetitionPenalty: Double?

        enum CodingKeys: String, CodingKey {
            case samples = "do_sample"
            case temperature
            case topP = "top_p"
            case topK = "top_k"
            case repetitionPenalty = "repetition_penalty"
        }
    }

    struct Expected: Decodable, Sendable {
        let heads: Int
        let keyValueHeads: Int
        let headDimension: Int
        let ropeTheta: Double
        let epsilon: Double
        let positions: Int
        let imageToken: Int
        let tied: Bool
        let eos: [Int]
        let sampling: Sampling
        let imageSide: Int?
        let imageMean: [Float]?
        let imageDeviation: [Float]?

        enum CodingKeys: String, CodingKey {
            case heads
            case keyValueHeads = "key_value_heads"
            case headDimension = "head_dim"
            case ropeTheta = "rope_theta"
            case epsilon = "rms_norm_eps"
            case positions = "max_position_embeddings"
            case imageToken = "image_token"
            case tied, eos, sampling
            case imageSide = "image_side"
            case imageMean = "image_mean"
            case imageDeviation = "image_std"
        }
    }

    let name: String
    let changes: [Change]
    let expected: Expected
    var testDescription: String { name }

    static let all: [PrecedenceCase] = {
        struct Document: Decodable { let cases: [PrecedenceCase] }
        let data = try? Fixture.data("checkpoints/precedence.json")
        return data.flatMap { try? JSONDecoder().decode(Document.self, from: $0) }?.cases ?? []
    }()
}

/// Any JSON value, kept as its text.
struct AnyValue: Decodable, Sendable {
    let text: String

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            text = "null"
        } else if let flag = try? container.decode(Bool.self) {
            text = "\(flag)"
        } else if let number = try? container.decode(Int.self) {
            text = "\(number)"
        } else if let number = try? container.decode(Double.self) {
            text = "\(number)"
        } else if let string = try? container.decode(String.self) {
            text = "\"\(string)\""
        } else if let list = try? container.decode([AnyValue].self) {
            text = "[" + list.map(\.text).joined(separator: ",") + "]"
        } else {
            let object = try container.decode([String: AnyValue].self)
            text = "{" + object.map { "\"\($0.key)\":\($0.value.text)" }.joined(separator: ",") + "}"
        }
    }

    var object: Any {
        get throws { try JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed) }
    }
}

@Suite("Where two places disagree, the one counts that transformers takes")
struct PrecedenceTests {
    private func applied(_ changes: [PrecedenceCase.Change]) throws -> TinyCheckpoint {
        var tiny = try TinyCheckpoint.huggingFace()
        var documents: [String: Any] = ["config.json": tiny.config]
        for change in changes {
            let value = change.remove == true ? nil : try change.value?.object ?? NSNull()
            documents[change.file] = Self.changed(documents[change.file], change.path[...], value)
        }
        tiny.config = try #require(documents.removeValue(forKey: "config.json") as? [String: Any])
        for (file, document) in documents {
            let data = try JSONSerialization.data(withJSONObject: document)
            tiny.files[file] = String(decoding: data, as: UTF8.self)
        }
        return tiny
    }

    private static func changed(_ node: Any?, _ path: ArraySlice<String>, _ value: Any?) -> Any? {
        guard let key = path.first else { return value }
        var object = node as? [String: Any] ?? [:]
        object[key] = changed(object[key], path.dropFirst(), value)
        return object
    }

    @Test("as recorded from transformers", arguments: PrecedenceCase.all)
    func recorded(example: PrecedenceCase) throws {
        let checkpoint = try applied(example.changes).open()
        let (got, expected) = (checkpoint.configuration, example.expected)
        #expect(got.text.heads == expected.heads)
        #expect(got.text.keyValueHeads == expected.keyValueHeads)
        #expect(got.text.headDimension == expected.headDimension)
        #expect(got.text.ropeTheta == Float(expected.ropeTheta))
        #expect(got.text.rmsNormEpsilon == Float(expected.epsilon))
        #expect(got.text.maximumPositions == expected.positions)
        #expect(got.imageTokenID == expected.imageToken)
        #expect(got.text.tiedEmbeddings == expected.tied)
        #expect(got.endOfSequenceIDs == expected.eos)
        if let side = expected.imageSide { #expect(got.preprocessing.size == side) }
        if let mean = expected.imageMean { #expect(got.preprocessing.mean == mean) }
        if let deviation = expected.imageDeviation {
            #expect(got.preprocessing.standardDeviation == deviation)
        }
        let defaults = try checkpoint.generationDefaults()
        let sampling = PrecedenceCase.Sampling(
            samples: defaults.samples, temperature: defaults.temperature, topP: defaults.topP,
            topK: defaults.topK, repetitionPenalty: defaults.repetitionPenalty)
        #expect(sampling == expected.sampling)
    }

    @Test("the recording is there, and covers what it should")
    func coverage() {
        #expect(PrecedenceCase.all.count >= 49)
    }

    /// Cases that differ in what answers depend on, and a word of the remark.
    static let remarked: [(name: String, word: String)] = [
        ("rope_theta flat and in rope_parameters", "rope_theta is 1000000.0"),
        ("rope_theta nowhere", "rope_theta"), ("rope_theta at the root only", "text_config"),
        ("rope_theta at the root and in text_config", "rope_theta 500000"),
        ("rope_scaling beside rope_parameters", "rope_scaling wins"),
        ("rope_scaling with rope_theta beside rope_parameters", "rope_theta is 700000"),
        ("rope_scaling beside rope_parameters and flat rope_theta", "rope_theta"),
        ("num_attention_heads in both", "num_attention_heads"),
        ("num_key_value_heads in both", "num_key_value_heads"), ("head_dim at the root", "head_dim 16"),
        ("head_dim in both", "head_dim"), ("images: both files, one without normalisation", "do_normalize"),
        ("rms_norm_eps in both", "rms_norm_eps"), ("rms_norm_eps at the root only", "rms_norm_eps"),
        ("max_position_embeddings in both", "max_position_embeddings"),
        ("max_position_embeddings at the root only", "max_position_embeddings"),
        ("eos_token_id: generation_config.json and text_config", "38"),
        ("eos_token_id: a list in generation_config.json", "5, 6"),
        ("eos_token_id: root and text_config", "7"),
        ("eos_token_id: generation_config.json, root and text_config", "7"),
        ("images: both files", "image_mean"),
    ]

    @Test("and a remark that changes answers says so", arguments: remarked)
    func remarks(name: String, word: String) throws {
        let example = try #require(PrecedenceCase.all.first { $0.name == name })
        let remarks = try applied(example.changes).open().remarks.filter { $0.severity == .changesAnswers }
        #expect(remarks.contains { $0.description.contains(word) }, "\(remarks)")
    }

    @Test(
        "places that agree give no such remark",
        arguments: [
            "rope_theta flat only", "null rope_scaling", "empty rope_scaling", "image_token_id only",
            "eos_token_id: root only", "sizes at the root", "images: preprocessor_config.json only",
            "images: processor_config.json without an image processor",
            "tie_word_embeddings in text_config only",
        ])
    func quiet(name: String) throws {
        let example = try #require(PrecedenceCase.all.first { $0.name == name })
        let remarks = try applied(example.changes).open().remarks.filter { $0.severity == .changesAnswers }
        let known = ["eos_token_id", "image side", "no question about an image"]
        #expect(
            remarks.allSatisfy { remark in known.contains { remark.description.contains($0) } }, "\(remarks)")
    }

    @Test("generation_config.json without an end: config.json's, where transformers never ends")
    func missingEnd() throws {
        var tiny = try TinyCheckpoint.huggingFace()
        tiny.files["generation_config.json"] = "{\"do_sample\": true, \"eos_token_id\": null}"
        #expect(try tiny.open().configuration.endOfSequenceIDs == [38])
        for none in ["-1", "[]"] {
            tiny.files["generation_config.json"] = "{\"eos_token_id\": \(none)}"
            #expect(try tiny.open().configuration.endOfSequenceIDs == [38])
        }
    }

    @Test("Apple's layout: one level, generation_config.json first, sides of tower and processor")
    func apple() throws {
        var tiny = try TinyCheckpoint.apple()
        tiny.config["rope_parameters"] = ["rope_type": "default", "rope_theta": 5e5]
        tiny.files["generation_config.json"] = "{\"eos_token_id\": 37}"
        tiny.files["preprocessor_config.json"] = "{\"size\": 192, \"crop_size\": 192}"
        let checkpoint = try tiny.open()
        #expect(checkpoint.configuration.text.ropeTheta == 500_000)
        #expect(checkpoint.configuration.endOfSequenceIDs == [37])
        #expect(checkpoint.configuration.preprocessing.size == 192)
        let remarks = checkpoint.remarks.filter { $0.severity == .changesAnswers }.map(\.description)
        for word in ["rope_theta", "eos_token_id", "images of 192"] {
            #expect(remarks.contains { $0.contains(word) }, "\(word): \(remarks)")
        }
    }

    @Test("MLX's layout: text_config, and behind it the root")
    func mlx() throws {
        var tiny = try TinyCheckpoint.mlx()
        tiny.config["text_config"] = ["rope_theta": 5e5, "rms_norm_eps": 1e-6]
        let checkpoint = try tiny.open()
        #expect(checkpoint.configuration.text.ropeTheta == 500_000)
        #expect(checkpoint.configuration.text.maximumPositions == 32768)
        let remarks = checkpoint.remarks.filter { $0.severity == .changesAnswers }.map(\.description)
        #expect(remarks.contains { $0.contains("rope_theta") } && remarks.count == 1, "\(remarks)")
    }

    @Test("an output projection that is not stored though the flag says it is one of its own")
    func untied() throws {
        var tiny = try TinyCheckpoint.apple()
        tiny.tensors["lm_head.weight"] = nil
        tiny.config["tie_word_embeddings"] = false
        let checkpoint = try tiny.open()
        #expect(
            checkpoint.remarks.contains {
                $0.severity == .changesAnswers && $0.description.contains("tie_word_embeddings")
            })
    }
}

import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

@Suite("Every published layout gives the same canonical weights")
struct LayoutTests {
    private let reference: Checkpoint

    init() throws {
        reference = try Checkpoint(directory: Fixture.url("checkpoints/folded"))
    }

    @Test("Apple's names, with the classifier and the counters passed over")
    func apple() throws {
        var tiny = try TinyCheckpoint.apple()
        tiny.tensors["model.vision_tower.vision_tower.model.head.proj"] = try random([64, 24])
        tiny.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = try random([4])
        let checkpoint = try tiny.open()
        #expect(checkpoint.layout == CheckpointLayout(family: .apple, trainTime: false, quantization: nil))
        #expect(checkpoint.configuration.preprocessing.geometry == .pad)
        #expect(checkpoint.configuration.preprocessing.size == 256)
        #expect(checkpoint.configuration.maximumSequenceLength == 8192)
        #expect(checkpoint.configuration.imageTokenID == nil)
        #expect(checkpoint.configuration.beginOfSequenceID == 36)
        #expect(checkpoint.configuration.visualTokens == 16)
        try expectSameWeights(checkpoint.weights, reference.weights, tolerance: 0)
    }

    @Test("Hugging Face's older names, without the leading model.")
    func olderHuggingFace() throws {
        var tiny = try TinyCheckpoint.huggingFace()
        tiny.tensors = Dictionary(
            uniqueKeysWithValues: tiny.tensors.map { name, tensor in
                (
                    name.replacingOccurrences(of: "model.language_model.", with: "language_model.model.")
                        .replacingOccurrences(
                            of: "model.vision_tower.timm_model.", with: "vision_tower.timm_model."
                        )
                        .replacingOccurrences(
                            of: "model.multi_modal_projector.", with: "multi_modal_projector."),
                    tensor
                )
            })
        tiny.tensors["language_model.lm_head.weight"] = try random([40, 16])
        let checkpoint = try tiny.open()
        #expect(checkpoint.layout.family == .huggingFace)
        #expect(checkpoint.configuration.text.tiedEmbeddings == false)
        #expect(checkpoint.weights.contains("decoder.output.weight"))
        #expect(checkpoint.remarks.contains { $0.description.contains("tie_word_embeddings") })
    }

    @Test("MLX: kernels output-height-width-input, scales (1, 1, C)")
    func mlx() throws {
        let checkpoint = try TinyCheckpoint.mlx().open()
        #expect(checkpoint.layout == CheckpointLayout(family: .mlx, trainTime: false, quantization: nil))
        #expect(checkpoint.configuration.preprocessing.geometry == .pad)
        #expect(checkpoint.configuration.imageTokenID == nil)
        try expectSameWeights(checkpoint.weights, reference.weights, tolerance: 0)
    }

    @Test("mlx-swift's extra layers and camel case")
    func mlxSwift() throws {
        var tiny = try TinyCheckpoint.mlx()
        tiny.tensors = Dictionary(
            uniqueKeysWithValues: tiny.tensors.map { name, tensor in
                var parts = name.split(separator: ".").map(String.init)
                if parts[0] == "mm_projector" { parts.insert("layers", at: 1) }
                if parts.count > 5, parts[2] == "network", Int(parts[4]) != nil {
                    parts.insert("layers", at: 4)
                }
                return (
                    parts.joined(separator: ".").replacingOccurrences(of: "layer_scale_", with: "layerScale"),
                    tensor
                )
            })
        try expectSameWeights(tiny.open().weights, reference.weights, tolerance: 0)
    }

    @Test("MLX's affine quantisation, 4 and 8 bits, every group size", arguments: [4, 8], [32, 64, 128])
    func quantized(bits: Int, group: Int) throws {
        var tiny = try TinyCheckpoint.mlx()
        try tiny.replaceDecoder(hidden: 128, intermediate: 256, vocabulary: 40)
        tiny.config["quantization"] = ["bits": bits, "group_size": group, "mode": "affine"]
        var expected: [String: [Float]] = [:]
        for (name, tensor) in tiny.tensors
        where name.hasSuffix("_proj.weight") || name.hasSuffix("embed_tokens.weight") {
            let module = String(name.dropLast(".weight".count))
            let packed = try Quantized(
                outputs: tensor.shape[0], inputs: tensor.shape[1], bits: bits, group: group, module: module)
            tiny.tensors[name] = packed.words
            tiny.tensors["\(module).scales"] = packed.scales
            tiny.tensors["\(module).biases"] = packed.biases
            expected[module] = packed.values
        }
        let checkpoint = try tiny.open()
        #expect(checkpoint.layout.quantization == .init(bits: bits, groupSize: group))
        let embedding = try checkpoint.weights.tensor("decoder.embedding.weight", shape: [40, 128])
        #expect(embedding.dataType == .float32)
        #expect(embedding.floats() == expected["language_model.model.embed_tokens"])
        let down = try checkpoint.weights.tensor("decoder.layers.1.mlp.down.weight", shape: [128, 256])
        #expect(down.floats() == expected["language_model.model.layers.1.mlp.down_proj"])
        // A quantised layer keeps its own bias under the singular name.
        #expect(checkpoint.weights.contains("decoder.layers.0.attention.query.bias"))
    }

    @Test("an output projection is dropped when it repeats the embedding table, kept when one byte differs")
    func tiedByData() throws {
        var tiny = try TinyCheckpoint.apple()
        let embedding = try #require(tiny.tensors["model.embed_tokens.weight"])
        tiny.tensors["lm_head.weight"] = embedding
        let tied = try tiny.open()
        #expect(tied.configuration.text.tiedEmbeddings)
        #expect(!tied.weights.contains("decoder.output.weight"))
        var values = embedding.floats()
        values[values.count - 1] += 1e-3
        tiny.tensors["lm_head.weight"] = try Tensor(values, shape: embedding.shape)
        let untied = try tiny.open()
        #expect(!untied.configuration.text.tiedEmbeddings)
        #expect(try untied.weights.tensor("decoder.output.weight", shape: [40, 16]).floats() == values)
    }

    @Test("a Llama decoder: no biases, its own defaults told as assumptions")
    func llama() throws {
        var tiny = try TinyCheckpoint.huggingFace()
        for name in tiny.tensors.keys where name.contains("self_attn") && name.hasSuffix(".bias") {
            tiny.tensors[name] = nil
        }
        tiny.config["text_config"] = [
            "model_type": "llama", "num_attention_heads": 2, "num_key_value_heads": 1,
            "attention_bias": false,
            "mlp_bias": false, "pretraining_tp": 1, "rms_norm_eps": 1e-5,
        ]
        let checkpoint = try tiny.open()
        #expect(!checkpoint.configuration.text.hasAttentionBias)
        #expect(checkpoint.configuration.text.ropeTheta == 10_000)
        #expect(checkpoint.configuration.text.rmsNormEpsilon == 1e-5)
        #expect(checkpoint.configuration.text.maximumPositions == 2048)
        #expect(checkpoint.remarks.contains { $0.description.contains("rope_theta") })
    }

    @Test("plain weights are views of the mapped file, in the stored element type")
    func zeroCopy() throws {
        try withTemporaryFolder { folder in
            var tiny = try TinyCheckpoint.apple()
            for (name, tensor) in tiny.tensors where tensor.dataType == .float32 {
                tiny.tensors[name] = try bfloat16(tensor)
            }
            try tiny.write(to: folder)
            let checkpoint = try Checkpoint(directory: folder)
            let first = try checkpoint.weights.tensor("decoder.embedding.weight", shape: [40, 16])
            let second = try checkpoint.weights.tensor("decoder.norm.weight", shape: [16])
            #expect(first.dataType == .bfloat16)
            #expect(first.storage === second.storage)
            let folded = try checkpoint.weights.tensor(
                "vision.stages.0.blocks.0.ffn.depthwise.weight", shape: [4, 1, 7, 7])
            #expect(folded.dataType == .float32)
        }
    }

    @Test("inspection counts parameters, bytes and element types, and names what is passed over")
    func inspection() throws {
        let inspection = try Checkpoint(directory: Fixture.url("checkpoints/train_time")).inspection()
        let plain = try reference.inspection()
        #expect(inspection.parameters == plain.parameters)
        #expect(
            plain.parts.map(\.name) == [
                "vision tower", "projector", "embedding", "decoder layers", "decoder norm",
            ])
        #expect(plain.parts.first { $0.name == "embedding" }?.parameters == 640)
        #expect(plain.parts.first { $0.name == "projector" }?.parameters == 64 * 16 + 16 + 16 * 16 + 16)
        #expect(plain.dataTypes.first?.dataType == .float32)
        #expect(plain.ignoredTensors.allSatisfy { $0.hasSuffix("num_batches_tracked") })
        #expect(inspection.oddities.contains { $0.description.contains("training branches") })
        #expect(plain.cacheBytesPerToken[.bfloat16] == 2 * 2 * 8 * 2)
        let float32 = try #require(plain.weightBytes[.float32])
        let bfloat16 = try #require(plain.weightBytes[.bfloat16])
        // The tied table is packed for the scores beside its rows, which are read in place.
        #expect(float32 == 4 * (plain.parameters + 640) && bfloat16 < float32)
    }

    @Test("a resolution is a multiple of 64 up to 4096")
    func resolution() throws {
        let configuration = reference.configuration
        #expect(try configuration.resized(to: 512).preprocessing.size == 512)
        #expect(try configuration.resized(to: 512).visualTokens == 64)
        for side in [0, -64, 63, 100, 4160, Int.max, Int.min] {
            let error = checkpointError { try configuration.resized(to: side) }
            #expect(error == .invalidResolution(side: side, sides: .multiples(of: 64), limit: 4096))
        }
    }
}

/// A random matrix in MLX's affine quantisation, packed here independently of the library.
struct Quantized {
    let words: Tensor
    let scales: Tensor
    let biases: Tensor
    let values: [Float]

    /// - Parameter module: its numbers differ from those of other modules.
    init(outputs: Int, inputs: Int, bits: Int, group: Int, module: String = "") throws {
        let perWord = 32 / bits
        var generator = SeededGenerator("\(outputs) \(inputs) \(bits) \(group) \(module)")
        let scaleValues = (0..<outputs * inputs / group).map { _ in
            Float(Int.random(in: 1...64, using: &generator)) / 256
        }
        let biasValues = scaleValues.map { _ in Float(Int.random(in: -64...64, using: &generator)) / 64 }
        var bytes: [UInt8] = []
        var expected: [Float] = []
        for row in 0..<outputs {
            for word in 0..<inputs / perWord {
                var packed: UInt32 = 0
                for index in 0..<perWord {
                    let code = UInt32.random(in: 0..<(1 << UInt32(bits)), using: &generator)
                    packed |= code << UInt32(index * bits)
                    let at = row * (inputs / group) + (word * perWord + index) / group
                    expected.append(scaleValues[at] * Float(code) + biasValues[at])
                }
                withUnsafeBytes(of: packed.littleEndian) { bytes.append(contentsOf: $0) }
            }
        }
        words = try Tensor(bytes: bytes, .uint32, shape: [outputs, inputs / perWord])
        scales = try bfloat16(Tensor(scaleValues, shape: [outputs, inputs / group]))
        biases = try bfloat16(Tensor(biasValues, shape: [outputs, inputs / group]))
        values = expected
    }
}

extension Tensor {
    init(bytes: [UInt8], _ dataType: DataType, shape: [Int]) throws {
        let storage = try Storage(byteCount: bytes.count)
        storage.mutableBytes.copyBytes(from: bytes)
        try self.init(dataType, shape: shape, storage: storage)
    }
}

/// The upper halves of float32: exact for values with few significant bits.
func bfloat16(_ tensor: Tensor) throws -> Tensor {
    var bytes: [UInt8] = []
    for value in tensor.floats() {
        withUnsafeBytes(of: UInt16(truncatingIfNeeded: value.bitPattern >> 16)) {
            bytes.append(contentsOf: $0)
        }
    }
    return try Tensor(bytes: bytes, .bfloat16, shape: tensor.shape)
}

/// Numbers within ±1, the same for the same shape and line of the sources.
func random(
    _ shape: [Int], fileID: String = #fileID, function: String = #function, line: Int = #line
) throws -> Tensor {
    var generator = SeededGenerator("\(shape) \(line)", fileID: fileID, function: function)
    return try random(shape, using: &generator)
}

/// Numbers within ±1.
func random(_ shape: [Int], using generator: inout SeededGenerator) throws -> Tensor {
    try Tensor(
        (0..<shape.reduce(1, *)).map { _ in Float.random(in: -1...1, using: &generator) }, shape: shape)
}

extension TinyCheckpoint {
    /// Another decoder, of quantisable size, under MLX's names; two heads of query, one of key and value.
    mutating func replaceDecoder(hidden: Int, intermediate: Int, vocabulary: Int) throws {
        var generator = SeededGenerator()
        tensors = tensors.filter {
            !$0.key.hasPrefix("language_model.") && !$0.key.hasPrefix("mm_projector.")
        }
        tensors["mm_projector.0.weight"] = try random([hidden, 64], using: &generator)
        tensors["mm_projector.0.bias"] = try random([hidden], using: &generator)
        tensors["mm_projector.2.weight"] = try random([hidden, hidden], using: &generator)
        tensors["mm_projector.2.bias"] = try random([hidden], using: &generator)
        tensors["language_model.model.embed_tokens.weight"] = try random(
            [vocabulary, hidden], using: &generator)
        tensors["language_model.model.norm.weight"] = try random([hidden], using: &generator)
        for layer in 0..<2 {
            let prefix = "language_model.model.layers.\(layer)"
            tensors["\(prefix).input_layernorm.weight"] = try random([hidden], using: &generator)
            tensors["\(prefix).post_attention_layernorm.weight"] = try random([hidden], using: &generator)
            for (name, rows) in [("q", hidden), ("k", hidden / 2), ("v", hidden / 2)] {
                tensors["\(prefix).self_attn.\(name)_proj.weight"] = try random(
                    [rows, hidden], using: &generator)
                tensors["\(prefix).self_attn.\(name)_proj.bias"] = try random([rows], using: &generator)
            }
            tensors["\(prefix).self_attn.o_proj.weight"] = try random([hidden, hidden], using: &generator)
            tensors["\(prefix).mlp.gate_proj.weight"] = try random([intermediate, hidden], using: &generator)
            tensors["\(prefix).mlp.up_proj.weight"] = try random([intermediate, hidden], using: &generator)
            tensors["\(prefix).mlp.down_proj.weight"] = try random([hidden, intermediate], using: &generator)
        }
        config["hidden_size"] = hidden
        config["intermediate_size"] = intermediate
        config["vocab_size"] = vocabulary
    }
}

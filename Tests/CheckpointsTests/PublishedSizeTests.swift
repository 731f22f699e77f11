import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

@Suite("The published 0.5B model, as far as names and shapes go")
struct PublishedSizeTests {
    @Test("924 tensors in 1.52 GB open without reading them, and count as the paper and timm count them")
    func halfBillion() throws {
        try withTemporaryFolder { folder in
            let tensors = Self.tensors()
            #expect(tensors.count == 924)
            try writeSparse(tensors, to: folder.appending(path: "model.safetensors"))
            var tiny = TinyCheckpoint(config: TinyCheckpoint.appleConfig)
            tiny.config.merge([
                "hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14,
                "num_key_value_heads": 2, "intermediate_size": 4864, "vocab_size": 151936,
                "bos_token_id": 151643, "eos_token_id": 151645, "mm_vision_tower": "mobileclip_l_1024",
                "mm_hidden_size": 3072, "tie_word_embeddings": false,
            ]) { $1 }
            try tiny.writeConfig(to: folder)
            let checkpoint = try Checkpoint(directory: folder)
            let configuration = checkpoint.configuration
            guard case .fastViTHD(let vision) = configuration.vision else {
                Issue.record("\(configuration.vision)")
                return
            }
            #expect(vision.depths == [2, 12, 24, 4, 2])
            #expect(vision.widths == [96, 192, 384, 768, 1536])
            #expect(vision.mlpRatios == [4, 4, 4, 4, 4])
            #expect(vision.squeezeReduction == 192)
            #expect(configuration.preprocessing.size == 1024 && configuration.visualTokens == 256)
            #expect(configuration.text.headDimension == 64 && !configuration.text.tiedEmbeddings)
            let inspection = try checkpoint.inspection()
            let parameters = Dictionary(
                uniqueKeysWithValues: inspection.parts.map { ($0.name, $0.parameters) })
            // timm counts scale and shift of the 44 batch norms; folded, one bias remains of each pair.
            #expect(parameters["vision tower"] == 122_714_208 - 17_856)
            #expect(parameters["projector"] == 3_557_120)
            #expect(parameters["embedding"] == 136_134_656)
            #expect(parameters["output projection"] == 136_134_656)
            #expect((parameters["decoder layers"] ?? 0) + 896 == 357_898_112)
            #expect(inspection.cacheBytesPerToken[.bfloat16] == 12_288)
            #expect(inspection.ignoredTensors.count == 45)
            #expect(abs(inspection.fileBytes - 1_518_000_000) < 1_000_000)
        }
    }

    /// Names, types and shapes in Apple's layout; `lm_head` last.
    private static func tensors() -> [(String, DataType, [Int])] {
        var all: [(String, DataType, [Int])] = []
        func add(_ name: String, _ shape: [Int]) { all.append((name, .bfloat16, shape)) }
        func module(_ name: String, _ shape: [Int]) {
            add("\(name).weight", shape)
            add("\(name).bias", [shape[0]])
        }
        let tower = "model.vision_tower.vision_tower.model"
        module("\(tower).patch_embed.0.reparam_conv", [96, 3, 3, 3])
        module("\(tower).patch_embed.1.reparam_conv", [96, 1, 3, 3])
        module("\(tower).patch_embed.2.reparam_conv", [96, 96, 1, 1])
        for (stage, (index, depth)) in zip([0, 2, 4, 7, 10], [2, 12, 24, 4, 2]).enumerated() {
            let channels = 96 << stage
            if stage > 0 {
                let downsample = "\(tower).network.\([0, 1, 3, 5, 8][stage]).proj"
                module("\(downsample).0.lkb_reparam", [channels, 1, 7, 7])
                module("\(downsample).1.reparam_conv", [channels, channels, 1, 1])
            }
            if stage > 2 { module("\(tower).network.\(index - 1).reparam_conv", [channels, 1, 7, 7]) }
            for block in 0..<depth {
                let name = "\(tower).network.\(index).\(block)"
                if stage > 2 {
                    module("\(name).norm", [channels])
                    add("\(name).token_mixer.qkv.weight", [3 * channels, channels])
                    module("\(name).token_mixer.proj", [channels, channels])
                    add("\(name).layer_scale_1", [channels, 1, 1])
                    add("\(name).layer_scale_2", [channels, 1, 1])
                } else {
                    module("\(name).token_mixer.reparam_conv", [channels, 1, 3, 3])
                    add("\(name).layer_scale", [channels, 1, 1])
                }
                add("\(name).convffn.conv.conv.weight", [channels, 1, 7, 7])
                for leaf in ["weight", "bias", "running_mean", "running_var"] {
                    add("\(name).convffn.conv.bn.\(leaf)", [channels])
                }
                all.append(("\(name).convffn.conv.bn.num_batches_tracked", .int64, []))
                module("\(name).convffn.fc1", [4 * channels, channels, 1, 1])
                module("\(name).convffn.fc2", [channels, 4 * channels, 1, 1])
            }
        }
        module("\(tower).conv_exp.reparam_conv", [3072, 1, 3, 3])
        module("\(tower).conv_exp.se.reduce", [192, 3072, 1, 1])
        module("\(tower).conv_exp.se.expand", [3072, 192, 1, 1])
        add("\(tower).head.proj", [3072, 768])
        module("model.mm_projector.0", [896, 3072])
        module("model.mm_projector.2", [896, 896])
        add("model.embed_tokens.weight", [151936, 896])
        add("model.norm.weight", [896])
        for layer in 0..<24 {
            let name = "model.layers.\(layer)"
            add("\(name).input_layernorm.weight", [896])
            add("\(name).post_attention_layernorm.weight", [896])
            module("\(name).self_attn.q_proj", [896, 896])
            module("\(name).self_attn.k_proj", [128, 896])
            module("\(name).self_attn.v_proj", [128, 896])
            add("\(name).self_attn.o_proj.weight", [896, 896])
            add("\(name).mlp.gate_proj.weight", [4864, 896])
            add("\(name).mlp.up_proj.weight", [4864, 896])
            add("\(name).mlp.down_proj.weight", [896, 4864])
        }
        add("lm_head.weight", [151936, 896])
        return all
    }

    /// A file with a true header and a hole for data; the first byte of the last tensor differs from the rest.
    private func writeSparse(_ tensors: [(String, DataType, [Int])], to url: URL) throws {
        var members: [String] = []
        var (offset, last) = (0, 0)
        for (name, type, shape) in tensors {
            last = offset
            offset += shape.reduce(1, *) * type.byteWidth
            members.append(
                "\"\(name)\":{\"dtype\":\"\(type.rawValue)\",\"shape\":\(shape),"
                    + "\"data_offsets\":[\(last),\(offset)]}")
        }
        let header = Data("{\(members.joined(separator: ","))}".utf8)
        var length = UInt64(header.count).littleEndian
        try (Data(bytes: &length, count: 8) + header).write(to: url)
        let handle = try FileHandle(forWritingTo: url)
        try handle.truncate(atOffset: UInt64(8 + header.count + offset))
        try handle.seek(toOffset: UInt64(8 + header.count + last))
        try handle.write(contentsOf: Data([1]))
        try handle.close()
    }
}

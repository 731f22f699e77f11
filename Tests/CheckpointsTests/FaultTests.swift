import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

@Suite("Faults of a checkpoint are found when it is opened")
struct FaultTests {
    // MARK: Quantised by others

    static let methods: [(settings: String, name: String)] = [
        ("{\"quant_method\": \"bitsandbytes\", \"load_in_4bit\": true}", "bitsandbytes"),
        ("{\"load_in_8bit\": true}", "bitsandbytes"), ("{\"_load_in_4bit\": true}", "bitsandbytes"),
        ("{\"quant_method\": \"awq\", \"bits\": 4, \"group_size\": 128}", "AWQ"),
        ("{\"w_bit\": 4, \"q_group_size\": 128}", "AWQ"),
        ("{\"quant_method\": \"gptq\", \"bits\": 4, \"group_size\": 128}", "GPTQ"),
        ("{\"bits\": 4, \"group_size\": 128, \"desc_act\": true}", "GPTQ"),
        ("{\"quant_method\": \"compressed-tensors\", \"config_groups\": {}}", "compressed-tensors"),
        ("{\"format\": \"pack-quantized\", \"config_groups\": {\"group_0\": {}}}", "compressed-tensors"),
        ("{\"quant_method\": \"fp8\", \"activation_scheme\": \"dynamic\"}", "FP8"),
        ("{\"weight_block_size\": [128, 128]}", "FP8"), ("{\"quant_method\": \"hqq\"}", "HQQ"),
        ("{\"quant_method\": \"torchao\"}", "torchao"), ("{\"quant_method\": \"surprise\"}", "surprise"),
    ]

    @Test(
        "weights quantised by another method are named by it, before any tensor is looked at",
        arguments: methods)
    func foreignQuantization(settings: String, name: String) throws {
        let value = try JSONSerialization.jsonObject(with: Data(settings.utf8))
        for nested in [false, true] {
            for key in ["quantization_config", "compression_config", "quantization"] {
                var tiny = try TinyCheckpoint.huggingFace()
                if nested {
                    var text = try #require(tiny.config["text_config"] as? [String: Any])
                    text[key] = value
                    tiny.config["text_config"] = text
                } else {
                    tiny.config[key] = value
                }
                // As such files have them.
                tiny.tensors["model.language_model.layers.0.mlp.up_proj.qweight"] = try random([4])
                let error = checkpointError { try tiny.open() }
                guard case .foreignQuantization("config.json", _, name)? = error else {
                    Issue.record("\(key): \(String(describing: error))")
                    continue
                }
                #expect(error?.description.contains("--precision int8") == true)
            }
        }
    }

    @Test(
        "also where only a file beside config.json says it",
        arguments: [
            ("quantize_config.json", "GPTQ"), ("quant_config.json", "AWQ"),
            ("hf_quant_config.json", "ModelOpt"),
        ])
    func sidecars(file: String, name: String) throws {
        var tiny = try TinyCheckpoint.huggingFace()
        tiny.files[file] = "{\"bits\": 4}"
        #expect(
            checkpointError { try tiny.open() } == .foreignQuantization(file: file, key: "", method: name))
    }

    @Test(
        "MLX's own, and settings that say nothing, still load",
        arguments: ["quantization", "quantization_config"])
    func ownQuantization(key: String) throws {
        var tiny = try TinyCheckpoint.mlx()
        tiny.config[key] = ["bits": 4, "group_size": 64, "mode": "affine"]
        #expect(try tiny.open().layout.family == .mlx)
        tiny.config[key] = NSNull()
        #expect(try tiny.open().layout.family == .mlx)
    }

    // MARK: Numbers that are none

    @Test(
        "NaN and Infinity are no matter where nothing uses them", arguments: ["NaN", "Infinity", "-Infinity"])
    func unusedNonFinite(value: String) throws {
        try withTemporaryFolder { folder in
            try TinyCheckpoint.huggingFace().write(to: folder)
            let url = folder.appending(path: "config.json")
            let text = String(decoding: try Data(contentsOf: url), as: UTF8.self)
            try Data(
                text.replacingOccurrences(of: "{\"", with: "{\"loss\":[\(value)],\"", options: .anchored).utf8
            )
            .write(to: url)
            _ = try Checkpoint(directory: folder)
            try Data("{\"do_sample\": false, \"temperature\": \(value)}".utf8)
                .write(to: folder.appending(path: "generation_config.json"))
            let checkpoint = try Checkpoint(directory: folder)
            // It is used only by whoever wants to sample so.
            let error = checkpointError { try checkpoint.generationDefaults() }
            guard case .invalidConfiguration("generation_config.json", "temperature", _, value)? = error
            else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
    }

    @Test("null counts as absent, in a rotary section too")
    func nullInRotarySection() throws {
        try withTemporaryFolder { folder in
            try TinyCheckpoint.huggingFace().write(to: folder)
            let url = folder.appending(path: "config.json")
            let object = try JSONSerialization.jsonObject(with: Data(contentsOf: url))
            var root = try #require(object as? [String: Any])
            var text = try #require(root["text_config"] as? [String: Any])
            text["rope_scaling"] = ["rope_type": "default", "factor": NSNull()]
            root["text_config"] = text
            try JSONSerialization.data(withJSONObject: root).write(to: url)
            _ = try Checkpoint(directory: folder)
        }
    }

    @Test(
        "and an error that names the key where it is used",
        arguments: [
            "rope_theta", "rms_norm_eps", "max_position_embeddings", "num_attention_heads", "eos_token_id",
            "tokenizer_model_max_length", "hidden_size", "tie_word_embeddings", "head_dim",
        ], ["NaN", "Infinity", "-Infinity"])
    func usedNonFinite(key: String, value: String) throws {
        try withTemporaryFolder { folder in
            var tiny = try TinyCheckpoint.apple()
            tiny.config[key] = "HERE"
            try tiny.write(to: folder)
            let url = folder.appending(path: "config.json")
            let text = String(decoding: try Data(contentsOf: url), as: UTF8.self)
            try Data(text.replacingOccurrences(of: "\"HERE\"", with: value).utf8).write(to: url)
            let error = checkpointError { try Checkpoint(directory: folder) }
            guard case .invalidConfiguration("config.json", key, _, value)? = error else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
    }

    @Test("a safetensors header stays strict")
    func strictHeader() throws {
        try withTemporaryFolder { folder in
            try TinyCheckpoint.huggingFace().write(to: folder)
            let header = Data("{\"__metadata__\":{\"a\":NaN}}".utf8)
            var length = UInt64(header.count).littleEndian
            try (Data(bytes: &length, count: 8) + header).write(
                to: folder.appending(path: "model.safetensors"))
            guard case .invalidJSON = checkpointError({ try Checkpoint(directory: folder) }) else {
                Issue.record("accepted")
                return
            }
        }
    }

    // MARK: Sizes and ids

    @Test(
        "a context that holds no prompt", arguments: 0...7,
        ["max_position_embeddings", "tokenizer_model_max_length"])
    func context(positions: Int, key: String) throws {
        var tiny = try TinyCheckpoint.apple()
        tiny.config[key] = positions
        guard
            case .invalidConfiguration("config.json", key, _, "\(positions)")? = checkpointError({
                try tiny.open()
            })
        else {
            Issue.record("\(key) \(positions)")
            return
        }
        tiny.config[key] = 8
        let remarks = try tiny.open().remarks
        #expect(
            remarks.contains {
                $0.severity == .changesAnswers && $0.description.contains("no question about an image")
            })
        tiny.config[key] = 4096
        #expect(try tiny.open().configuration.maximumSequenceLength == 4096)
    }

    @Test("no limit, as tokenizers write it, is none")
    func unlimited() throws {
        var tiny = try TinyCheckpoint.apple()
        tiny.config["tokenizer_model_max_length"] = 1e30
        #expect(try tiny.open().configuration.maximumSequenceLength == 32768)
    }

    @Test(
        "ids beyond the rows of the embedding table",
        arguments: [
            ("config.json", "eos_token_id", "40"), ("config.json", "eos_token_id", "[38, 151645]"),
            ("config.json", "bos_token_id", "40"), ("config.json", "image_token_index", "151646"),
            ("config.json", "image_token_id", "40"), ("generation_config.json", "eos_token_id", "151645"),
        ])
    func ids(file: String, key: String, value: String) throws {
        var tiny = try TinyCheckpoint.apple()
        if file == "config.json" {
            tiny.config[key] = try JSONSerialization.jsonObject(
                with: Data(value.utf8), options: .fragmentsAllowed)
        } else {
            tiny.files[file] = "{\"\(key)\": \(value)}"
        }
        let error = checkpointError { try tiny.open() }
        guard case .configurationContradictsTensors(file, key, _, let rows)? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(rows.contains("0 to 39"))
    }

    @Test("LLaVA's sentinel, a filler beyond the rows and -1 are no such ids")
    func sentinels() throws {
        var tiny = try TinyCheckpoint.apple()
        tiny.config["image_token_index"] = -200
        tiny.config["pad_token_id"] = 40
        tiny.config["bos_token_id"] = -1
        let configuration = try tiny.open().configuration
        #expect(configuration.imageTokenID == nil && configuration.beginOfSequenceID == nil)
    }

    @Test("a tokenizer with more ids than rows")
    func tokens() throws {
        let checkpoint = try TinyCheckpoint.apple().open()
        try checkpoint.check(tokens: 40)
        let error = checkpointError { try checkpoint.check(tokens: 41) }
        #expect(
            error?.description.contains("up to 40") == true && error?.description.contains("0 to 39") == true)
    }

    // MARK: Messages

    @Test("fetching again is the advice only where it helps")
    func advice() throws {
        var tiny = try TinyCheckpoint.huggingFace()
        for (text, helps) in [
            ("{\"size\": 64", true), ("{\"size\": 64,}", true), ("{\"size\": 64, \"size\": 64}", false),
            (String(repeating: "{\"a\":", count: 40) + "1" + String(repeating: "}", count: 40), false),
        ] {
            tiny.files["preprocessor_config.json"] = text
            let error = try #require(checkpointError { try tiny.open() })
            #expect(error.description.contains("fetch the file again") == helps, "\(error)")
        }
    }

    @Test("a file that cannot be written: the path once, the system's reason in words")
    func unwritable() throws {
        let target = URL(filePath: "/nonexistent/folder/a.safetensors")
        let error = try #require(
            checkpointError { try SafetensorsWriter.write([("a", random([1]))], to: target) })
        #expect(error.description.contains("there is no folder '/nonexistent/folder'"))
        #expect(error.description.components(separatedBy: target.path).count == 2)
        #expect(!error.description.contains("error 512") && !error.description.contains("Cocoa"))
    }
}

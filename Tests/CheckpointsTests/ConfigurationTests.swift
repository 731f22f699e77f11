import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

@Suite("config.json and its neighbours are read strictly")
struct ConfigurationTests {
    /// One change to Apple's configuration and the kind of error it must give.
    enum Kind: Sendable { case invalid, unsupported, contradiction }

    static let changes: [(String, String, Kind)] = [
        ("model_type", "\"qwen2\"", .unsupported), ("model_type", "7", .invalid),
        ("model_type", "null", .invalid),
        ("hidden_size", "24", .contradiction), ("hidden_size", "1e30", .invalid),
        ("hidden_size", "-16", .invalid),
        ("hidden_size", "\"16\"", .invalid), ("hidden_size", "16.5", .invalid),
        ("hidden_size", "[16]", .invalid),
        ("num_hidden_layers", "3", .contradiction), ("num_hidden_layers", "100000", .invalid),
        ("num_attention_heads", "0", .invalid), ("num_attention_heads", "5", .invalid),
        ("num_attention_heads", "9223372036854775807", .invalid), ("num_attention_heads", "16", .invalid),
        ("num_attention_heads", "1", .contradiction), ("num_key_value_heads", "2", .contradiction),
        ("num_key_value_heads", "3", .invalid), ("head_dim", "7", .invalid),
        ("head_dim", "16", .contradiction),
        ("intermediate_size", "25", .contradiction), ("vocab_size", "41", .contradiction),
        ("vocab_size", "99999999999", .invalid), ("rms_norm_eps", "0", .invalid),
        ("rms_norm_eps", "\"x\"", .invalid),
        ("rope_theta", "-1", .invalid), ("hidden_act", "\"gelu\"", .unsupported),
        ("rope_scaling", "{\"type\": \"yarn\", \"factor\": 4}", .unsupported),
        ("rope_scaling", "{\"type\": \"mrope\", \"mrope_section\": [1]}", .unsupported),
        ("rope_scaling", "{\"factor\": 4}", .unsupported), ("rope_scaling", "3", .invalid),
        ("use_sliding_window", "true", .unsupported), ("use_sliding_window", "1", .unsupported),
        ("layer_types", "[\"full_attention\", \"sliding_attention\"]", .unsupported),
        ("attention_bias", "false", .contradiction), ("max_position_embeddings", "0", .invalid),
        ("tokenizer_model_max_length", "0", .invalid), ("eos_token_id", "-5", .invalid),
        ("eos_token_id", "[38, \"x\"]", .invalid), ("tie_word_embeddings", "\"yes\"", .invalid),
        ("mm_vision_tower", "\"openai/clip-vit-large-patch14-336\"", .unsupported),
        ("mm_vision_tower", "\"mobileclip_l_1000\"", .unsupported),
        ("mm_vision_tower", "\"mobileclip_l_999999999\"", .invalid),
        ("mm_vision_tower", "\"mobileclip_l_0\"", .invalid),
        ("mm_hidden_size", "3072", .contradiction), ("mm_projector_type", "\"linear\"", .unsupported),
        ("mm_patch_merge_type", "\"spatial_unpad\"", .unsupported),
        ("mm_use_im_start_end", "true", .unsupported),
        ("image_aspect_ratio", "\"anyres_max_9\"", .unsupported), ("image_aspect_ratio", "3", .invalid),
        ("text_config", "{\"model_type\": \"gemma\"}", .unsupported), ("text_config", "[]", .invalid),
        ("text_config", "{\"hidden_size\": 8}", .contradiction),
        ("vision_config", "{\"model_type\": \"clip_vision_model\"}", .unsupported),
        ("vision_config", "{\"architecture\": \"fastvit_t8\"}", .unsupported),
        ("vision_config", "{\"architecture\": \"fastvit_mci3\", \"hidden_size\": 63}", .contradiction),
        ("vision_config", "{\"model_args\": {\"layers\": [1, 1, 1, 1, 1]}}", .contradiction),
        ("vision_config", "{\"model_args\": {\"embed_dims\": [4, 8, 8, 32]}}", .contradiction),
        ("vision_config", "{\"model_args\": {\"mlp_ratios\": [4, 4, 4, 4, 4]}}", .contradiction),
        ("vision_config", "{\"model_args\": {\"lkc_use_act\": false}}", .unsupported),
        ("vision_config", "{\"model_args\": {\"surprise\": 1}}", .unsupported),
        ("vision_config", "{\"model_args\": {\"layers\": [-1]}}", .invalid),
    ]

    @Test("a value that is out of range, unknown or untrue is named", arguments: changes)
    func change(key: String, value: String, kind: Kind) throws {
        var tiny = try TinyCheckpoint.apple()
        tiny.config[key] = try JSONSerialization.jsonObject(
            with: Data(value.utf8), options: .fragmentsAllowed)
        let error = try #require(checkpointError { try tiny.open() }, "accepted")
        switch (error, kind) {
        case (.invalidConfiguration(_, let named, _, _), .invalid),
            (.unsupportedConfiguration(_, let named, _, _), .unsupported),
            (.configurationContradictsTensors(_, let named, _, _), .contradiction):
            #expect(
                named.contains(key) || key.hasPrefix("num_") || named.contains("mm_vision_tower")
                    || key == "head_dim",
                "\(named)")
        default: Issue.record("\(error)")
        }
        #expect(error.description.contains("; "), "says what to do")
    }

    @Test("values of the neighbours: eos of generation_config, sides, mean and deviation of the processor")
    func neighbours() throws {
        var tiny = try TinyCheckpoint.huggingFace()
        tiny.files["generation_config.json"] = "{\"eos_token_id\": [37, 38], \"do_sample\": true}"
        tiny.files["preprocessor_config.json"] = """
            {"crop_size": {"height": 512, "width": 512}, "size": {"shortest_edge": 512},
             "do_center_crop": true,
             "image_mean": [0.5, 0.25, 0], "image_std": [1, 0.5, 2], "resample": 3,
             "rescale_factor": 0.00392156862745098}
            """
        let configuration = try tiny.open().configuration
        #expect(configuration.endOfSequenceIDs == [37, 38])
        #expect(configuration.preprocessing.size == 512)
        #expect(configuration.preprocessing.mean == [0.5, 0.25, 0])
        #expect(configuration.preprocessing.standardDeviation == [1, 0.5, 2])
        #expect(configuration.preprocessing.geometry == .crop)
        tiny.files["preprocessor_config.json"] =
            "{\"size\": 256, \"do_pad\": true, \"image_processor_type\": \"LlavaImageProcessorFast\"}"
        #expect(try tiny.open().configuration.preprocessing.geometry == .pad)
        tiny.files["preprocessor_config.json"] = "{\"size\": 256, \"do_pad\": true}"
        #expect(checkpointError { try tiny.open() } != nil)
        tiny.files["preprocessor_config.json"] = nil
        tiny.files["processor_config.json"] = "{\"image_processor\": {\"size\": {\"shortest_edge\": 192}}}"
        #expect(try tiny.open().configuration.preprocessing.size == 192)
        tiny.config["image_aspect_ratio"] = "pad"
        #expect(try tiny.open().configuration.preprocessing.geometry == .pad)
        for text in [
            "{\"size\": 100}", "{\"size\": {\"height\": 64, \"width\": 128}}", "{\"image_mean\": [0]}",
            "{\"image_std\": [0, 1, 1]}", "{\"resample\": 2}", "{\"rescale_factor\": 1}",
            "{\"do_resize\": false}",
            "{\"size\": {}}", "[]", "{", "{\"size\": 64, \"size\": 64}",
        ] {
            tiny.files["processor_config.json"] = nil
            tiny.files["preprocessor_config.json"] = text
            #expect(checkpointError { try tiny.open() } != nil, "\(text)")
        }
    }
    @Test("a file that is not JSON, or names a key twice, is named with the offset")
    func notJSON() throws {
        var tiny = try TinyCheckpoint.huggingFace()
        for (text, offset) in [("{\"size\": 64,}", 12), ("{\"size\": 64, \"size\": 64}", 13)] {
            tiny.files["preprocessor_config.json"] = text
            let error = checkpointError { try tiny.open() }
            guard case .invalidJSON("preprocessor_config.json", offset, _, _)? = error else {
                Issue.record("\(text): \(String(describing: error))")
                return
            }
        }
    }
}

import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

/// A checkpoint folder in the making: tensors and configuration, changed by a test before it is written.
struct TinyCheckpoint {
    var tensors: [String: Tensor] = [:]
    var config: [String: Any]
    /// Further files, by name.
    var files: [String: String] = [:]

    /// Goes with the dimensions of the fixtures.
    static var appleConfig: [String: Any] {
        [
            "model_type": "llava_qwen2", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 1, "intermediate_size": 24, "vocab_size": 40, "rope_theta": 1_000_000.0,
            "rms_norm_eps": 1e-6, "hidden_act": "silu", "max_position_embeddings": 32768,
            "use_sliding_window": false, "sliding_window": 32768, "bos_token_id": 36, "eos_token_id": 38,
            "tie_word_embeddings": true, "mm_vision_tower": "mobileclip_l_256", "mm_hidden_size": 64,
            "mm_projector_type": "mlp2x_gelu", "mm_vision_select_layer": -2, "mm_patch_merge_type": "flat",
            "image_aspect_ratio": "pad", "image_grid_pinpoints": NSNull(), "mm_use_im_start_end": false,
            "tokenizer_model_max_length": 8192, "torch_dtype": "float32",
        ]
    }

    /// The folded fixture as transformers saved it.
    static func huggingFace() throws -> TinyCheckpoint {
        let folder = Fixture.url("checkpoints/folded")
        let data = try Data(contentsOf: folder.appending(path: "config.json"))
        let config = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        var checkpoint = TinyCheckpoint(config: config)
        let file = try SafetensorsFile(contentsOf: folder.appending(path: "model.safetensors"))
        for stored in file.tensors { checkpoint.tensors[stored.name] = try file.tensor(stored) }
        return checkpoint
    }

    /// The folded fixture under Apple's names.
    static func apple() throws -> TinyCheckpoint {
        var checkpoint = TinyCheckpoint(config: appleConfig)
        for (name, tensor) in try huggingFace().tensors { checkpoint.tensors[appleName(name)] = tensor }
        return checkpoint
    }

    /// The folded fixture as mlx-vlm converts Apple's: other prefixes, kernels output-height-width-input,
    /// scales (1, 1, C), no counters.
    static func mlx() throws -> TinyCheckpoint {
        var checkpoint = TinyCheckpoint(config: appleConfig)
        checkpoint.config["model_type"] = "fastvlm"
        // What mlx-vlm's own class writes; the sizes in it are not the tower's.
        checkpoint.config["vision_config"] = [
            "model_type": "llava_qwen2", "hidden_size": 1024, "intermediate_size": 3072, "image_size": 256,
            "patch_size": 64, "projection_dim": 768,
        ]
        checkpoint.config["image_token_index"] = -200
        for (apple, tensor) in try apple().tensors where !apple.hasSuffix("num_batches_tracked") {
            let name = mlxName(apple)
            if tensor.shape.count == 4 {
                checkpoint.tensors[name] = try outputHeightWidthInput(tensor)
            } else if tensor.shape.count == 3 {
                checkpoint.tensors[name] = try tensor.reshaped([1, 1, tensor.shape[0]])
            } else {
                checkpoint.tensors[name] = tensor
            }
        }
        return checkpoint
    }

    func write(to folder: URL) throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try writeConfig(to: folder)
        try SafetensorsWriter.write(
            tensors.sorted { $0.key < $1.key }.map { ($0.key, $0.value) },
            to: folder.appending(path: "model.safetensors"))
    }

    func writeConfig(to folder: URL) throws {
        try JSONSerialization.data(withJSONObject: config).write(to: folder.appending(path: "config.json"))
        for (name, text) in files { try Data(text.utf8).write(to: folder.appending(path: name)) }
    }

    /// Writes and opens it.
    func open() throws -> Checkpoint {
        try withTemporaryFolder { folder in
            try write(to: folder)
            return try Checkpoint(directory: folder)
        }
    }
}

/// An empty folder that is gone afterwards. Mapped files stay readable.
func withTemporaryFolder<Result>(_ body: (URL) throws -> Result) throws -> Result {
    let folder = FileManager.default.temporaryDirectory.appending(path: "checkpoints-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    return try body(folder)
}

/// Compares every weight of two checkpoints, relative to the largest value of each.
func expectSameWeights(_ left: CanonicalWeights, _ right: CanonicalWeights, tolerance: Float) throws {
    #expect(left.names == right.names)
    for name in right.names {
        let shape = try #require(right.shape(of: name))
        let expected = try right.tensor(name, shape: shape).floats()
        let got = try left.tensor(name, shape: shape).floats()
        let largest = expected.map(abs).max() ?? 0
        let difference = zip(expected, got).map { abs($0 - $1) }.max() ?? 0
        #expect(difference <= tolerance * max(largest, 1e-6), "\(name): \(difference) of \(largest)")
    }
}

/// Any error that a body throws, as this room's; nil when it does not throw.
func checkpointError(_ body: () throws -> some Any) -> CheckpointError? {
    do {
        _ = try body()
        return nil
    } catch {
        return error as? CheckpointError
    }
}

/// Hugging Face's and timm's names in Apple's words, folded or not. Five stages, positions in the last two.
func appleName(_ name: String) -> String {
    let stages = [0: 0, 1: 2, 2: 4, 3: 7, 4: 10]
    var result = name
    for (stage, network) in stages {
        result = result.replacingOccurrences(of: ".stages.\(stage).blocks.", with: ".network.\(network).")
        result = result.replacingOccurrences(
            of: ".stages.\(stage).downsample.", with: ".network.\([1: 1, 2: 3, 3: 5, 4: 8][stage] ?? 0).")
        result = result.replacingOccurrences(
            of: ".stages.\(stage).pos_emb.", with: ".network.\([3: 6, 4: 9][stage] ?? 0).")
    }
    for (from, to) in [
        (".timm_model.", ".vision_tower.model."), (".stem.", ".patch_embed."),
        (".proj.0.reparam_conv.", ".proj.0.lkb_reparam."), (".mlp.conv.", ".convffn.conv."),
        (".final_conv.", ".conv_exp."), (".se.fc1.", ".se.reduce."), (".se.fc2.", ".se.expand."),
        (".gamma", ""), (".conv_kxk.", ".rbr_conv."), (".conv_scale.", ".rbr_scale."),
        (".identity.", ".rbr_skip."), (".large_conv.", ".lkb_origin."), (".pos_enc.", ".pe."),
        ("multi_modal_projector.linear_1", "mm_projector.0"),
        ("multi_modal_projector.linear_2", "mm_projector.2"),
        ("model.language_model.", "model."),
    ] { result = result.replacingOccurrences(of: from, with: to) }
    if result.contains("network") {
        result = result.replacingOccurrences(of: ".mlp.", with: ".convffn.")
    }
    return result
}

/// Apple's names as mlx-vlm stores them.
func mlxName(_ name: String) -> String {
    if name.hasPrefix("model.vision_tower.vision_tower.model.") {
        return
            name
            .replacingOccurrences(
                of: "model.vision_tower.vision_tower.model.", with: "vision_tower.vision_model."
            )
            .replacingOccurrences(of: ".patch_embed.", with: ".patch_embed.blocks.")
    }
    if name.hasPrefix("model.mm_projector.") { return String(name.dropFirst("model.".count)) }
    return "language_model.\(name)"
}

/// [O, I, H, W] to [O, H, W, I], float32.
func outputHeightWidthInput(_ tensor: Tensor) throws -> Tensor {
    let (outputs, inputs) = (tensor.shape[0], tensor.shape[1])
    let area = tensor.shape[2] * tensor.shape[3]
    let values = tensor.floats()
    var turned: [Float] = []
    for output in 0..<outputs {
        for position in 0..<area {
            for input in 0..<inputs { turned.append(values[(output * inputs + input) * area + position]) }
        }
    }
    return try Tensor(turned, shape: [outputs, tensor.shape[2], tensor.shape[3], inputs])
}

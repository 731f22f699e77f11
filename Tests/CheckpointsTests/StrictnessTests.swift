import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

@Suite("A checkpoint that does not fit itself is refused with the reason")
struct StrictnessTests {
    private let q = "model.layers.1.self_attn.q_proj.weight"

    @Test("taking away any one tensor names what is missing")
    func missing() throws {
        let whole = try TinyCheckpoint.apple()
        for name in whole.tensors.keys.sorted() where !name.hasSuffix("num_batches_tracked") {
            var tiny = whole
            tiny.tensors[name] = nil
            switch checkpointError({ try tiny.open() }) {
            case .missingTensor, .configurationContradictsTensors, .unexpectedTensor: break
            case let other: Issue.record("without \(name): \(String(describing: other))")
            }
        }
    }

    @Test("every tensor of another shape or an integer type is refused")
    func wrongShape() throws {
        let whole = try TinyCheckpoint.apple()
        var generator = SeededGenerator()
        for (name, tensor) in whole.tensors.sorted(by: { $0.key < $1.key })
        where !name.hasSuffix("num_batches_tracked") {
            var tiny = whole
            switch Int.random(in: 0..<3, using: &generator) {
            case 0:
                tiny.tensors[name] = try random(tensor.shape.map { $0 + 1 })
                #expect(checkpointError { try tiny.open() } != nil, "\(name) grown")
            case 1:
                tiny.tensors[name] = try random([tensor.count, 1, 1, 1, 1])
                #expect(checkpointError { try tiny.open() } != nil, "\(name) of another rank")
            default:
                tiny.tensors[name] = try Tensor(
                    bytes: [UInt8](repeating: 0, count: tensor.byteCount), .int32, shape: tensor.shape)
                let error = checkpointError { try tiny.open() }
                guard case .unexpectedDataType(_, name, _, "I32") = error else {
                    Issue.record("\(name) as I32: \(String(describing: error))")
                    continue
                }
            }
        }
    }

    @Test(
        "a tensor that nothing uses is an error",
        arguments: [
            "model.layers.0.self_attn.q_norm.weight", "model.layers.2.mlp.up_proj.weight",
            "model.image_newline",
            "model.vision_tower.vision_tower.model.network.0.2.layer_scale", "lm_head.bias", "optimizer.step",
            "model.layers.0.mlp.gate_proj.bias", "model.layers.00.input_layernorm.weight", "",
            "model.vision_tower.vision_tower.model.patch_embed.0.rbr_scale.conv.weight",
            "model.vision_tower.vision_tower.model.network.0.0.token_mixer.layer_scale",
        ])
    func extra(name: String) throws {
        var tiny = try TinyCheckpoint.apple()
        tiny.tensors[name] = try random([4])
        let error = try #require(checkpointError { try tiny.open() })
        switch error {
        case .unexpectedTensor(_, name, _), .missingTensor, .configurationContradictsTensors: break
        default: Issue.record("\(error)")
        }
    }

    @Test("one weight under two names is an error")
    func duplicates() throws {
        var tiny = try TinyCheckpoint.apple()
        tiny.tensors["language_model.\(q)"] = try random([16, 16])
        guard case .duplicateTensor(let name, _, _) = checkpointError({ try tiny.open() }) else {
            Issue.record("no error")
            return
        }
        #expect(name == "decoder.layers.1.attention.query.weight")
    }

    @Test("kernels in two orders are an error")
    func mixedOrders() throws {
        var tiny = try TinyCheckpoint.apple()
        let name = "model.vision_tower.vision_tower.model.patch_embed.1.reparam_conv.weight"
        tiny.tensors[name] = try outputHeightWidthInput(#require(tiny.tensors[name]))
        guard case .unexpectedShape = checkpointError({ try tiny.open() }) else {
            Issue.record("no error")
            return
        }
    }

    @Test("parts that are missing altogether are named")
    func parts() throws {
        for (prefix, part) in [
            ("model.vision_tower.", "vision tower"), ("model.mm_projector.", "projector"),
        ] {
            var tiny = try TinyCheckpoint.apple()
            tiny.tensors = tiny.tensors.filter { !$0.key.hasPrefix(prefix) }
            guard case .incompleteCheckpoint(_, part, _) = checkpointError({ try tiny.open() }) else {
                Issue.record("\(part): no error")
                continue
            }
        }
        var encoder = try TinyCheckpoint.apple()
        let prefix = "model.vision_tower.vision_tower.model."
        encoder.tensors = Dictionary(
            uniqueKeysWithValues: encoder.tensors.filter { $0.key.hasPrefix(prefix) }
                .map { ("image_encoder.model.\($0.key.dropFirst(prefix.count))", $0.value) })
        let error = checkpointError { try encoder.open() }
        #expect(error?.description.contains("encoder alone") == true)
    }

    @Test("Apple's MLX export, whose tower is a CoreML package, is refused with that reason")
    func coreML() throws {
        try withTemporaryFolder { folder in
            var tiny = try TinyCheckpoint.apple()
            tiny.tensors = tiny.tensors.filter {
                !$0.key.contains("vision_tower") && !$0.key.contains("projector")
            }
            tiny.tensors["multi_modal_projector.linear_0.weight"] = try random([16, 64])
            try tiny.write(to: folder)
            try FileManager.default.createDirectory(
                at: folder.appending(path: "fastvithd.mlpackage"), withIntermediateDirectories: false)
            let error = checkpointError { try Checkpoint(directory: folder) }
            #expect(error?.description.contains("CoreML") == true)
        }
    }

    @Test("a model that asks for another shape or name than is stored gets an error")
    func lookups() throws {
        let weights = try TinyCheckpoint.apple().open().weights
        #expect(throws: CheckpointError.self) { try weights.tensor("decoder.norm.weight", shape: [17]) }
        #expect(throws: CheckpointError.self) { try weights.tensor("decoder.norm.weight", shape: [16, 1]) }
        #expect(throws: CheckpointError.self) { try weights.tensor("decoder.nothing", shape: [1]) }
        #expect(try weights.tensorIfPresent("decoder.nothing", shape: [1]) == nil)
    }

    @Test("quantised tensors must fit one another and config.json")
    func quantization() throws {
        var tiny = try TinyCheckpoint.mlx()
        try tiny.replaceDecoder(hidden: 128, intermediate: 256, vocabulary: 40)
        let module = "language_model.model.layers.0.mlp.up_proj"
        let packed = try Quantized(outputs: 256, inputs: 128, bits: 4, group: 64)
        tiny.tensors["\(module).weight"] = packed.words
        tiny.tensors["\(module).scales"] = packed.scales
        tiny.tensors["\(module).biases"] = packed.biases
        tiny.config["quantization"] = ["bits": 4, "group_size": 64]
        _ = try tiny.open()
        func error(_ change: (inout TinyCheckpoint) throws -> Void) rethrows -> CheckpointError? {
            var changed = tiny
            try change(&changed)
            return checkpointError { try changed.open() }
        }
        let contradiction = error { $0.config["quantization"] = ["bits": 8, "group_size": 64] }
        guard case .configurationContradictsTensors = contradiction else {
            Issue.record("\(String(describing: contradiction))")
            return
        }
        for change: [String: Any] in [
            ["bits": 3, "group_size": 64], ["bits": 4, "group_size": 16],
            ["bits": 4, "group_size": 64, "mode": "mxfp4"],
        ] {
            guard case .unsupportedConfiguration = error({ $0.config["quantization"] = change }) else {
                Issue.record("\(change)")
                continue
            }
        }
        #expect(error { $0.tensors["\(module).biases"] = nil } != nil)
        #expect(try error { $0.tensors["\(module).scales"] = try random([256, 3]) } != nil)
        #expect(try error { $0.tensors["\(module).biases"] = try random([256, 4]) } != nil)
        #expect(try error { $0.tensors["\(module).weight"] = try random([256, 16]) } != nil)
        #expect(
            try error {
                $0.tensors["\(module).weight"] = try Tensor(
                    bytes: [UInt8](repeating: 0, count: 256 * 15 * 4), .uint32, shape: [256, 15])
            } != nil)
    }
}

import Foundation
import Tensors
import TestSupport
import Testing

@testable import Checkpoints

@Suite("LoRA adapters: folders that are one, and adapters that cannot be merged")
struct AdapterTests {
    static let folder = Fixture.url("adapters/patterns")

    /// A copy of an adapter, changed before it is merged into tiny-hf.
    private func merging(
        _ base: String = "models/tiny-hf",
        _ change: (inout [String: Any], inout [(String, Tensor)]) throws -> Void
    ) throws -> CheckpointError? {
        try withTemporaryFolder { copy in
            let data = try Data(contentsOf: Self.folder.appending(path: "adapter_config.json"))
            var config = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
            let file = try SafetensorsFile(
                contentsOf: Self.folder.appending(path: "adapter_model.safetensors"))
            var tensors = try file.tensors.map { ($0.name, try file.tensor($0)) }
            try change(&config, &tensors)
            try JSONSerialization.data(withJSONObject: config).write(
                to: copy.appending(path: "adapter_config.json"))
            try SafetensorsWriter.write(tensors, to: copy.appending(path: "adapter_model.safetensors"))
            return checkpointError { try Checkpoint(directory: Fixture.url(base), adapters: [copy]) }
        }
    }

    @Test("the adapter of these tests merges as it is")
    func unchanged() throws {
        #expect(try merging { _, _ in } == nil)
    }

    static let settings: [(key: String, value: String, word: String)] = [
        ("peft_type", "\"IA3\"", "IA3"), ("peft_type", "\"LOHA\"", "LOHA"),
        ("peft_type", "\"PREFIX_TUNING\"", "PREFIX"),
        ("use_dora", "true", "DoRA"), ("fan_in_fan_out", "true", "inputs first"), ("bias", "\"all\"", "all"),
        ("bias", "\"lora_only\"", "lora_only"), ("lora_bias", "true", "bias"),
        ("use_qalora", "true", "QALoRA"),
        ("layer_replication", "[[0, 2], [1, 2]]", "replicated"),
        ("trainable_token_indices", "[3]", "single tokens"),
        ("target_parameters", "[\"experts\"]", "no layers"), ("alora_invocation_tokens", "[1]", "aLoRA"),
        ("init_lora_weights", "\"pissa\"", "pissa"), ("init_lora_weights", "\"pissa_niter_4\"", "pissa"),
        ("init_lora_weights", "\"olora\"", "olora"), ("init_lora_weights", "\"corda\"", "corda"),
        ("init_lora_weights", "\"loftq\"", "loftq"), ("init_lora_weights", "\"lora_ga\"", "lora_ga"),
        ("rank_pattern", "{\"(q|k)_proj\": 8}", "regular expression"),
        ("alpha_pattern", "{\"layers.*.q_proj\": 8}", "regular expression"),
        ("use_bdlora", "true", "block-diagonal"), ("kasa_config", "{\"a\": 1}", "KaSA"),
    ]

    @Test("what is not plain LoRA is refused by name", arguments: settings)
    func refused(key: String, value: String, word: String) throws {
        let object = try JSONSerialization.jsonObject(with: Data(value.utf8), options: .fragmentsAllowed)
        let found = try merging { config, _ in config[key] = object }
        guard case .unsupportedAdapter("adapter_config.json", let place, _)? = found else {
            Issue.record("\(String(describing: found))")
            return
        }
        #expect(place.hasPrefix(key))
        #expect(
            found?.description.contains(word) == true
                && found?.description.contains("merge_and_unload") == true)
    }

    @Test(
        "ways to begin that leave the model's weights alone are accepted",
        arguments: ["gaussian", "eva", "orthogonal"])
    func beginnings(name: String) throws {
        #expect(try merging { config, _ in config["init_lora_weights"] = name } == nil)
    }

    @Test("settings and tensors that do not belong together are named")
    func contradictions() throws {
        let module = "base_model.model.model.language_model.layers.0.mlp.up_proj"
        let rank = try merging { config, _ in config["r"] = 5 }
        guard case .configurationContradictsTensors(_, "r", _, _)? = rank else {
            Issue.record("another rank: \(String(describing: rank))")
            return
        }
        for key in ["r", "peft_type"] {
            let absent = try merging { config, _ in config[key] = nil }
            guard case .invalidConfiguration(_, key, _, _)? = absent else {
                Issue.record("no \(key): \(String(describing: absent))")
                return
            }
        }
        let half = try merging { _, tensors in tensors.removeAll { $0.0 == "\(module).lora_B.weight" } }
        guard case .missingTensor(let name, _, _, _)? = half, name.hasSuffix("up_proj.lora_B.weight") else {
            Issue.record("half a pair: \(String(describing: half))")
            return
        }
        let shape = try merging { _, tensors in
            let index = try #require(tensors.firstIndex { $0.0 == "\(module).lora_A.weight" })
            tensors[index].1 = try random([4, 65])
        }
        guard case .unexpectedShape(_, _, [4, 64], [4, 65])? = shape else {
            Issue.record("another width: \(String(describing: shape))")
            return
        }
        let height = try merging { _, tensors in
            let index = try #require(tensors.firstIndex { $0.0 == "\(module).lora_B.weight" })
            tensors[index].1 = try random([65, 4])
        }
        guard case .unexpectedShape(_, let tall, _, [65, 4])? = height else {
            Issue.record("another height: \(String(describing: height))")
            return
        }
        #expect(tall.contains("lora_B"))
        let both = try merging { _, tensors in
            let index = try #require(tensors.firstIndex { $0.0 == "\(module).lora_B.weight" })
            tensors.append(("\(module).weight", try random([tensors[index].1.shape[0], 64])))
        }
        guard case .unsupportedAdapter(_, _, let reason)? = both else {
            Issue.record("two changes to one weight: \(String(describing: both))")
            return
        }
        #expect(reason.contains("low-rank"))
        let type = try merging { _, tensors in
            let index = try #require(tensors.firstIndex { $0.0 == "\(module).lora_A.weight" })
            tensors[index].1 = try Tensor(
                bytes: [UInt8](repeating: 0, count: 4 * 64 * 4), .int32, shape: [4, 64])
        }
        guard case .unexpectedDataType? = type else {
            Issue.record("integers: \(String(describing: type))")
            return
        }
        let empty = try merging { _, tensors in tensors = [] }
        guard case .unsupportedAdapter(_, "", _)? = empty else {
            Issue.record("no tensors: \(String(describing: empty))")
            return
        }
    }

    @Test(
        "modules that the model lacks, and changes that are no low-rank product",
        arguments: [
            ("model.language_model.layers.7.mlp.up_proj.lora_A.weight", "no weight"),
            ("model.language_model.layers.0.self_attn.q_norm.lora_A.weight", "no weight"),
            ("model.something.lora_A.weight", "no weight"),
            ("model.language_model.layers.0.self_attn.q_proj.lora_magnitude_vector.weight", "DoRA"),
            ("model.language_model.embed_tokens.lora_embedding_A", "embedding"),
            ("model.language_model.layers.0.mlp.up_proj.lora_A.x.y.z", "not supported"),
            ("model.language_model.layers.0.self_attn.q_norm.weight", "no weight"),
        ])
    func strangers(name: String, word: String) throws {
        let found = try merging { config, tensors in
            config["rank_pattern"] = [String: Any]()
            config["alpha_pattern"] = [String: Any]()
            tensors = [("base_model.model.\(name)", try random([4, 64]))]
            if name.hasSuffix("lora_A.weight") {
                let other = name.replacingOccurrences(of: "lora_A", with: "lora_B")
                tensors.append(("base_model.model.\(other)", try random([64, 4])))
            }
        }
        guard case .unsupportedAdapter(_, let place, _)? = found else {
            Issue.record("\(String(describing: found))")
            return
        }
        #expect(
            place.hasSuffix(name) && found?.description.contains(word) == true, "\(String(describing: found))"
        )
    }

    @Test("convolutions of the tower are refused, its attention is merged")
    func tower() throws {
        let tower = "base_model.model.model.vision_tower.timm_model"
        let convolution = try merging { _, tensors in
            tensors = [
                ("\(tower).stages.0.blocks.0.mlp.fc1.lora_A.weight", try random([4, 4, 1, 1])),
                ("\(tower).stages.0.blocks.0.mlp.fc1.lora_B.weight", try random([8, 4, 1, 1])),
            ]
        }
        #expect(convolution?.description.contains("convolution") == true)
        #expect(
            try merging { _, tensors in
                tensors = [
                    ("\(tower).stages.4.blocks.0.token_mixer.proj.lora_A.weight", try random([4, 64])),
                    ("\(tower).stages.4.blocks.0.token_mixer.proj.lora_B.weight", try random([64, 4])),
                ]
            } == nil)
    }

    @Test(
        "one use of a tied table cannot be changed alone",
        arguments: ["lm_head", "model.language_model.embed_tokens"])
    func tied(module: String) throws {
        let found = try merging("models/tiny-train") { _, tensors in
            tensors = [("base_model.model.\(module).weight", try random([320, 32]))]
        }
        #expect(found?.description.contains("one matrix") == true, "\(String(describing: found))")
    }

    @Test("files of an adapter that are missing or of another format are named")
    func files() throws {
        let base = Fixture.url("models/tiny-hf")
        func message(_ folder: URL) -> String {
            checkpointError { try Checkpoint(directory: base, adapters: [folder]) }?.description ?? "accepted"
        }
        #expect(message(URL(filePath: "/nonexistent")).contains("no such folder"))
        try withTemporaryFolder { folder in
            #expect(message(folder).contains("adapter_config.json"))
            try FileManager.default.copyItem(
                at: Self.folder.appending(path: "adapter_config.json"),
                to: folder.appending(path: "adapter_config.json"))
            #expect(message(folder).contains("adapter_model.safetensors"))
            try Data([0x80, 2]).write(to: folder.appending(path: "adapter_model.bin"))
            #expect(message(folder).contains("adapter_model.bin") && message(folder).contains("PyTorch"))
            try Data("<html>".utf8).write(to: folder.appending(path: "adapter_model.safetensors"))
            #expect(message(folder).contains("web page"))
            try FileManager.default.removeItem(at: folder.appending(path: "adapter_model.safetensors"))
            try FileManager.default.copyItem(
                at: Self.folder.appending(path: "adapter_model.safetensors"),
                to: folder.appending(path: "adapter_model.safetensors"))
            try Data([0x80, 2]).write(to: folder.appending(path: "non_lora_trainables.bin"))
            #expect(message(folder).contains("merge_lora_weights.py"))
        }
    }

    @Test("an adapter in a Hugging Face cache is the snapshot that refs/main names")
    func cache() throws {
        try withTemporaryFolder { root in
            let folder = root.appending(path: "models--a--adapter")
            try FileManager.default.createDirectory(
                at: folder.appending(path: "snapshots"), withIntermediateDirectories: true)
            try FileManager.default.createDirectory(
                at: folder.appending(path: "refs"), withIntermediateDirectories: true)
            try Data("0abc".utf8).write(to: folder.appending(path: "refs/main"))
            try FileManager.default.copyItem(at: Self.folder, to: folder.appending(path: "snapshots/0abc"))
            _ = try Checkpoint(directory: Fixture.url("models/tiny-hf"), adapters: [folder])
            try Data("0def".utf8).write(to: folder.appending(path: "refs/main"))
            let error = checkpointError {
                try Checkpoint(directory: Fixture.url("models/tiny-hf"), adapters: [folder])
            }
            #expect(error?.description.contains("0def") == true)
        }
    }

    // MARK: In place of a model

    @Test("a folder that is an adapter, in every form it has, is told from a model")
    func inPlaceOfModel() throws {
        func expectAdapter(_ folder: URL, base: String?, _ comment: String) {
            let found = checkpointError { try Checkpoint(directory: folder) }
            #expect(
                found == .adapterOnly(directory: folder.path, base: base),
                "\(comment): \(String(describing: found))")
            #expect(found?.description.contains("--adapter") == true)
        }
        expectAdapter(Self.folder, base: "tiny-hf", "as PEFT writes it")
        try withTemporaryFolder { folder in
            try TinyCheckpoint(config: TinyCheckpoint.appleConfig).writeConfig(to: folder)
            for name in ["adapter_config.json", "adapter_model.safetensors"] {
                try FileManager.default.copyItem(
                    at: Self.folder.appending(path: name), to: folder.appending(path: name))
            }
            expectAdapter(folder, base: "tiny-hf", "with a config.json, as LLaVA's training writes it")
            try FileManager.default.removeItem(at: folder.appending(path: "adapter_config.json"))
            expectAdapter(folder, base: nil, "without its configuration")
            try FileManager.default.moveItem(
                at: folder.appending(path: "adapter_model.safetensors"),
                to: folder.appending(path: "model.safetensors"))
            expectAdapter(folder, base: nil, "under a model's name")
            try FileManager.default.removeItem(at: folder.appending(path: "model.safetensors"))
            try Data([0x80, 2]).write(to: folder.appending(path: "adapter_model.bin"))
            try Data("{}".utf8).write(to: folder.appending(path: "adapter_config.json"))
            expectAdapter(folder, base: nil, "in PyTorch's format")
        }
    }

    @Test("a model that was saved with its adapter unmerged is refused with that reason")
    func unmerged() throws {
        var tiny = try TinyCheckpoint.apple()
        let module = "model.layers.0.self_attn.q_proj"
        tiny.tensors["\(module).lora_A.default.weight"] = try random([4, 16])
        tiny.tensors["\(module).lora_B.default.weight"] = try random([16, 4])
        tiny.tensors["\(module).base_layer.weight"] = tiny.tensors.removeValue(forKey: "\(module).weight")
        guard case .unsupportedAdapter(_, _, let reason)? = checkpointError({ try tiny.open() }) else {
            Issue.record("accepted")
            return
        }
        #expect(reason.contains("not merged"))
    }

    @Test("whole weights beside an adapter load, with a remark; the adapter's file is no second model")
    func beside() throws {
        try withTemporaryFolder { folder in
            try TinyCheckpoint.huggingFace().write(to: folder)
            for name in ["adapter_config.json", "adapter_model.safetensors"] {
                try FileManager.default.copyItem(
                    at: Self.folder.appending(path: name), to: folder.appending(path: name))
            }
            let remarks = try Checkpoint(directory: folder).remarks
            #expect(
                remarks.contains { $0.severity == .changesAnswers && $0.description.contains("not applied") })
        }
    }

    // MARK: Names

    @Test("names of an adapter's tensors")
    func names() {
        let cases: [(String, AdapterName)] = [
            ("base_model.model.a.b.lora_A.weight", .half(module: "a.b", "A")),
            ("base_model.model.a.b.lora_B.weight", .half(module: "a.b", "B")),
            ("base_model.model.a.lora_A.default.weight", .half(module: "a", "A")),
            ("a.lora_A.weight", .half(module: "a", "A")),
            ("base_model.model.a.b.weight", .whole(name: "a.b.weight")),
            ("base_model.model.a.modules_to_save.default.weight", .whole(name: "a.weight")),
            ("base_model.model.a.modules_to_save.weight", .whole(name: "a.weight")),
            ("base_model.model.a.original_module.weight", .ignorable),
            ("base_model.model.lora_A.weight", .unsupported(kind: "this tensor")),
        ]
        for (name, expected) in cases { #expect(AdapterName(name) == expected, "\(name)") }
    }

    @Test("keys of patterns match as PEFT's do: the end of a path from a dot on, or all of it")
    func patterns() throws {
        try withTemporaryFolder { folder in
            let url = folder.appending(path: "adapter_config.json")
            try Data("{}".utf8).write(to: url)
            let section = try ConfigurationReader(FileAccess.json(url), file: "adapter_config.json")
            let cases: [(key: String, module: String, fits: Bool)] = [
                ("q_proj", "model.layers.0.self_attn.q_proj", true), ("proj", "model.q_proj", false),
                ("layers.1.mlp.up", "model.layers.1.mlp.up", true),
                ("layers.1.mlp.up", "model.layers.11.mlp.up", false),
                ("1.mlp.up", "model.layers.11.mlp.up", false), ("q_proj", "q_proj", true),
                ("q_proj", "proj", false),
                ("^model.a", "model.a", true), ("^a", "model.a", false), ("model\\.a$", "model.a", true),
                ("model.a", "model_a", true),
            ]
            for (key, module, fits) in cases {
                #expect(try ModulePattern(key, in: section).matches(module) == fits, "\(key) on \(module)")
            }
        }
    }
}

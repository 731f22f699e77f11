import Checkpoints
import Foundation
import Generation
import ImageInput
import Models
import Tensors
import TestSupport
import Testing
import Tokenization

/// LoRA adapters merged at load, against PEFT's own merge of the same files.
@Suite struct AdapterMergeTests {
    struct Group: Sendable, CustomTestStringConvertible {
        let name: String
        let base: String
        let adapters: [String]
        var testDescription: String { "\(adapters.joined(separator: " and ")) on \(base)" }
    }

    /// Whatever names the model and the adapter have: their numbers are the same.
    static let groups = [
        Group(name: "patterns", base: "tiny-hf", adapters: ["patterns"]),
        Group(name: "stable", base: "tiny-hf", adapters: ["stable"]),
        Group(name: "both", base: "tiny-hf", adapters: ["patterns", "stable"]),
        Group(name: "patterns", base: "tiny-hf", adapters: ["apple"]),
        Group(name: "patterns", base: "tiny-apple", adapters: ["apple"]),
        Group(name: "both", base: "tiny-apple", adapters: ["apple", "stable"]),
        Group(name: "patterns", base: "tiny-mlx", adapters: ["patterns"]),
    ]

    private func checkpoint(_ group: Group) throws -> Checkpoint {
        try Checkpoint(
            directory: Fixture.url("models/\(group.base)"),
            adapters: group.adapters.map { Fixture.url("adapters/\($0)") })
    }

    @Test("merged matrices are PEFT's", arguments: groups)
    func matrices(group: Group) throws {
        let expected = try CheckpointTensors(Fixture.url("adapters/expected.safetensors"))
        let checkpoint = try checkpoint(group)
        for (name, canonical) in [
            ("q_proj.0", "decoder.layers.0.attention.query.weight"),
            ("down_proj.1", "decoder.layers.1.mlp.down.weight"),
            ("linear_2", "projector.1.weight"),
        ] {
            let shape = try #require(checkpoint.weights.shape(of: canonical))
            let got = try checkpoint.weights.tensor(canonical, shape: shape)
            #expect(got.dataType == .float32)
            let error = relativeError(got.floats(), try expected["\(group.name).\(name)"])
            #expect(error <= 1e-6, "\(name): \(error)")
        }
    }

    @Test("logits and greedy answers are those of PEFT's merged model", arguments: groups)
    func answers(group: Group) throws {
        let expected = try CheckpointTensors(Fixture.url("adapters/expected.safetensors"))
        let cases = try JSONDecoder().decode(
            [String: [ExpectedModel.Case]].self, from: Fixture.data("adapters/expected.json"))
        let model = try TinyModel(checkpoint(group), precision: .float32)
        for example in try #require(cases[group.name]) {
            let request = model.request(example)
            let error = relativeError(
                try model.logits(request), try expected["\(group.name).logits.\(example.name)"])
            #expect(error <= 2e-5, "\(example.name): \(error)")
            #expect(try model.generate(request).ids == example.greedy)
        }
    }

    @Test(
        "an adapter changes every precision's answers as it changes float32's",
        arguments: [Precision.bfloat16, .int8])
    func precisions(precision: Precision) throws {
        let expected = try CheckpointTensors(Fixture.url("adapters/expected.safetensors"))
        let cases = try JSONDecoder().decode(
            [String: [ExpectedModel.Case]].self, from: Fixture.data("adapters/expected.json"))
        let model = try TinyModel(checkpoint(Self.groups[0]), precision: precision)
        let plain = try TinyModel("tiny-hf", precision: precision)
        for example in try #require(cases["patterns"]) {
            let wanted = try expected["patterns.logits.\(example.name)"]
            let request = model.request(example)
            #expect(cosine(try model.logits(request), wanted) >= 0.98)
            #expect(cosine(try plain.logits(request), wanted) < 0.95)
        }
    }

    @Test("on quantised weights an adapter is added to what they stand for")
    func quantised() throws {
        let folder = Fixture.url("models/tiny-mlx-q4")
        // That model has one layer.
        let short = FileManager.default.temporaryDirectory.appending(path: "adapter-\(UUID())")
        try FileManager.default.createDirectory(at: short, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: short) }
        let source = Fixture.url("adapters/stable")
        let file = try SafetensorsFile(contentsOf: source.appending(path: "adapter_model.safetensors"))
        try SafetensorsWriter.write(
            file.tensors.filter { $0.name.contains(".layers.0.") }.map { ($0.name, try file.tensor($0)) },
            to: short.appending(path: "adapter_model.safetensors"))
        try FileManager.default.copyItem(
            at: source.appending(path: "adapter_config.json"),
            to: short.appending(path: "adapter_config.json"))
        let (plain, adapted) = (
            try Checkpoint(directory: folder), try Checkpoint(directory: folder, adapters: [short])
        )
        let name = "decoder.layers.0.attention.query.weight"
        let shape = try #require(plain.weights.shape(of: name))
        let (before, after) = (
            try plain.weights.tensor(name, shape: shape).floats(),
            try adapted.weights.tensor(name, shape: shape).floats()
        )
        let reference = try Checkpoint(directory: Fixture.url("models/tiny-hf"))
        let merged = try checkpoint(Self.groups[1])
        let change = zip(
            try merged.weights.tensor(name, shape: shape).floats(),
            try reference.weights.tensor(name, shape: shape).floats()
        ).map { $0 - $1 }
        let difference = zip(zip(after, before).map { $0 - $1 }, change).map { abs($0 - $1) }.max() ?? 1
        #expect(difference < 1e-5 && change.contains { abs($0) > 0.01 })
        guard case .numbers = try adapted.weights.matrix(name, shape: shape) else {
            Issue.record("taken as integers")
            return
        }
    }
}

import FastVLM
import Foundation
import TestSupport
import Testing

/// Weights of a whole checkpoint that cannot be right, although names and shapes are.
@Suite("Numbers of a weight file that make no sense") struct DamagedWeightsTests {
    /// Loads tiny-hf after a change to the bytes of one tensor.
    private func load(
        _ tensor: String, precision: LoadOptions.Precision,
        _ change: (_ bytes: inout Data, _ width: Int) -> Void
    ) async throws -> VisionLanguageModel {
        let folder = FileManager.default.temporaryDirectory.appending(path: "damaged-\(UUID())")
        defer { try? FileManager.default.removeItem(at: folder) }
        try FileManager.default.copyItem(at: Fixture.url("models/tiny-hf"), to: folder)
        let file = folder.appending(path: "model.safetensors")
        var data = try Data(contentsOf: file)
        let length = data.prefix(8).enumerated().reduce(0) { $0 | Int($1.element) << (8 * $1.offset) }
        let header = try JSONSerialization.jsonObject(with: data[8..<8 + length]) as? [String: Any]
        let entry = try #require(header?[tensor] as? [String: Any], "no tensor \(tensor)")
        let offsets = try #require(entry["data_offsets"] as? [Int])
        let range = 8 + length + offsets[0]..<8 + length + offsets[1]
        var bytes = Data(data[range])
        change(&bytes, entry["dtype"] as? String == "F32" ? 4 : 2)
        data.replaceSubrange(range, with: bytes)
        try data.write(to: file)
        var options = LoadOptions()
        options.precision = precision
        return try await VisionLanguageModel(contentsOf: .directory(folder), options: options)
    }

    private static let matrices = [
        "model.language_model.layers.1.mlp.up_proj.weight",
        "model.language_model.layers.0.self_attn.k_proj.weight",
        "model.multi_modal_projector.linear_2.weight",
    ]

    @Test("NaN is an error that names the tensor", arguments: matrices, LoadOptions.Precision.allCases)
    func notANumber(tensor: String, precision: LoadOptions.Precision) async throws {
        let error = await #expect(throws: FastVLMError.self) {
            try await load(tensor, precision: precision) { bytes, _ in
                // The last number, of whatever type: its exponent is all ones.
                bytes[bytes.endIndex - 1] = 0x7F
                bytes[bytes.endIndex - 2] = 0xFF
            }
        }
        #expect(error?.kind == .model)
        #expect(error?.description.contains(tensor) == true, "\(String(describing: error))")
    }

    @Test("zeros from the middle on, and only zeros, are a remark that names the tensor", arguments: matrices)
    func zeros(tensor: String) async throws {
        for keep in [0, 1] {
            let model = try await load(tensor, precision: .bfloat16) { bytes, _ in
                let first = bytes.count / 2 * keep
                bytes.replaceSubrange(first..<bytes.count, with: Data(count: bytes.count - first))
            }
            let found = model.information.remarks.filter { $0.contains(tensor) }
            #expect(found.count == 1, "\(model.information.remarks)")
            #expect(found.first?.contains(keep == 0 ? "every number of" : "the last ") == true, "\(found)")
        }
    }

    @Test("weights that are right give no remark")
    func right() async throws {
        for folder in ["tiny-hf", "tiny-mlx-q4", "tiny-mlx-q8", "tiny-train", "tiny-llama"] {
            let model = try await VisionLanguageModel(contentsOf: .directory(Fixture.url("models/\(folder)")))
            #expect(!model.information.remarks.contains { $0.contains(" 0") }, "\(model.information.remarks)")
        }
    }
}

import Foundation
import TestSupport
import Testing

@testable import FastVLM

/// Sampling as generation_config.json asks for it.
@Suite("Sampling of the checkpoint")
struct CheckpointOptionsTests {
    private func options(_ configuration: String) async throws -> GenerationOptions {
        let copy = FileManager.default.temporaryDirectory.appending(path: "sampling-\(UUID().uuidString)")
        try FileManager.default.copyItem(at: Fixture.url("models/tiny-hf"), to: copy)
        defer { try? FileManager.default.removeItem(at: copy) }
        let file = copy.appending(path: "generation_config.json")
        try? FileManager.default.removeItem(at: file)
        try Data(configuration.utf8).write(to: file)
        return try await VisionLanguageModel(contentsOf: .directory(copy)).checkpointOptions()
    }

    @Test("do_sample decides; what the file does not say is transformers' default")
    func values() async throws {
        var expected = GenerationOptions()
        #expect(try await options(#"{"temperature": 0.7, "top_p": 0.8}"#) == expected)
        expected.repetitionPenalty = 1.1
        #expect(try await options(#"{"do_sample": false, "repetition_penalty": 1.1}"#) == expected)
        expected.temperature = 1
        expected.topK = 50
        #expect(try await options(#"{"do_sample": true, "repetition_penalty": 1.1}"#) == expected)
        (expected.temperature, expected.topP, expected.topK, expected.minP) = (0.7, 0.8, 20, 0.05)
        let all =
            #"{"do_sample":true,"repetition_penalty":1.1,"temperature":0.7,"top_p":0.8,"top_k":20,"min_p":0.05}"#
        #expect(try await options(all) == expected)
        #expect(try await options(#"{"do_sample": true, "top_k": 0}"#).topK == 0)
    }

    @Test(
        "values that cannot be applied are the checkpoint's fault, and only when they are asked for",
        arguments: [
            #"{"do_sample": true, "temperature": 0}"#, #"{"do_sample": true, "temperature": -1}"#,
            #"{"do_sample": true, "top_p": 2}"#, #"{"repetition_penalty": 1000}"#, #"{"do_sample": 1}"#,
        ])
    func refused(text: String) async throws {
        let error = await #expect(throws: FastVLMError.self) { try await options(text) }
        #expect(error?.kind == .model && error?.description.contains("generation_config.json") == true)
    }

    @Test("a top-p of 0 leaves the best token")
    func topP() async throws {
        let options = try await options(#"{"do_sample": true, "top_p": 0, "top_k": 0}"#)
        #expect(options.topP > 0 && options.topP < 1e-30 && options.temperature == 1)
    }
}

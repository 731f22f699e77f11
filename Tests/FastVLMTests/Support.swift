import FastVLM
import TestSupport

/// The fixture `tiny-hf`, in float32 unless `change` says otherwise.
func load(_ change: (inout LoadOptions) -> Void = { _ in }) async throws -> VisionLanguageModel {
    var options = LoadOptions()
    options.precision = .float32
    change(&options)
    return try await VisionLanguageModel(
        contentsOf: .directory(Fixture.url("models/tiny-hf")), options: options)
}

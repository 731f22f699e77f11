public import FastVLM

extension ModelSource {
    /// The small model that is part of this package. It has seen drawn and typeset pictures, no photographs.
    ///
    /// ```swift
    /// import FastVLM
    /// import FastVLMEmbedded
    ///
    /// let model = try await VisionLanguageModel(contentsOf: .embedded)
    /// ```
    public static var embedded: ModelSource {
        .resource("fastvlm-small", bundle: "swift-fastvlm_FastVLMEmbedded")
    }
}

internal import Checkpoints
internal import Generation

extension GenerationOptions {
    /// What the checkpoint asks for, as transformers applies it: where `do_sample` is not true, the best token is taken
    /// and only the repetition penalty counts; else a temperature of 1 and the 50 best tokens unless the file says
    /// otherwise.
    /// - Throws: `FastVLMError` of kind `model` for values that transformers refuses, or that are out of range here.
    init(_ defaults: GenerationDefaults) throws {
        self.init()
        let file = defaults.file ?? "generation_config.json"
        repetitionPenalty = Float(defaults.repetitionPenalty ?? 1)
        if defaults.samples == true {
            let temperature = defaults.temperature ?? 1
            guard temperature > 0 else {
                throw FastVLMError(
                    .checkpoint,
                    "\(file): do_sample is true, but temperature is \(temperature), which leaves nothing to draw from; "
                        + "set do_sample to false, or a temperature above 0")
            }
            self.temperature = max(Float(temperature), .leastNormalMagnitude)
            topK = defaults.topK ?? GenerationDefaults.transformersTopK
            // 0 keeps the best token alone, as the smallest number above it does.
            topP = max(Float(defaults.topP ?? 1), .leastNormalMagnitude)
            minP = Float(defaults.minP ?? 0)
        }
        var request = GenerationRequest(prompt: Prompt(elements: []))
        apply(to: &request)
        do {
            try request.sampling.validate()
        } catch {
            throw FastVLMError(
                .checkpoint, "\(file): \(error); correct it, or leave out --sampling checkpoint")
        }
    }
}

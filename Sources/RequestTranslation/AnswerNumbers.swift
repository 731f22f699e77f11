package import FastVLM
package import WireFormats

/// The numbers of a request's answers in the form of the interfaces.
package struct AnswerNumbers: Sendable {
    package let usage: OpenAI.Usage
    package let timings: StageTimings

    /// - Parameters:
    ///   - answers: all of a request's; the prompt was computed for the first one, and found by the others
    ///   - queue: seconds before it was worked on
    package init(_ answers: [Answer], queue: Double) {
        let first = answers.first
        // What the first one computed the others find; counted once, as OpenAI does.
        let computed = answers.map(\.usage.promptTokens).max() ?? 0
        let prompt = answers.map { $0.usage.promptTokens + $0.usage.cachedTokens }.max() ?? 0
        let cached = prompt - computed
        let completion = answers.reduce(0) { $0 + $1.usage.completionTokens }
        usage = OpenAI.Usage(
            prompt: prompt, completion: completion, cached: cached,
            image: answers.map { $0.usage.imageTokens + $0.usage.cachedImageTokens }.max() ?? 0)
        let timings = first?.timings
        self.timings = StageTimings(
            promptTokens: computed, cachedTokens: cached, completionTokens: completion, queue: queue,
            decodeImage: timings?.decodeImage ?? 0, preprocess: timings?.preprocess ?? 0,
            encode: timings?.encode ?? 0, project: timings?.project ?? 0, prefill: timings?.prefill ?? 0,
            timeToFirstToken: timings?.timeToFirstToken ?? 0,
            generation: answers.map { $0.timings.perToken.reduce(0, +) }.max() ?? 0)
    }
}

extension VisionLanguageModel {
    /// Tokens in the form of OpenAI's log-probabilities.
    package func logProbabilities(_ tokens: [AnswerToken]) -> [OpenAI.TokenLogProbability] {
        tokens.map { token in
            logProbability(
                token.id, token.logProbability ?? 0,
                alternatives: token.alternatives.map { logProbability($0.id, $0.logProbability) })
        }
    }

    private func logProbability(
        _ id: Int, _ value: Float, alternatives: [OpenAI.TokenLogProbability]? = nil
    ) -> OpenAI.TokenLogProbability {
        let text = tokenizer.decode([id], skipsSpecialTokens: false)
        // What OpenAI writes for what cannot be.
        return OpenAI.TokenLogProbability(
            token: text, logprob: max(value, -9999), bytes: tokenizer.bytes(of: id),
            alternatives: alternatives)
    }
}

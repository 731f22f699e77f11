internal import Metrics

/// Counts and times what the engine does. Made when a model is loaded, and not at all where nobody listens.
///
/// | label | kind | what |
/// |---|---|---|
/// | `fastvlm_requests_waiting` | gauge | requests that wait to be worked on |
/// | `fastvlm_requests_running` | gauge | requests that are worked on |
/// | `fastvlm_requests_total` | counter, `outcome` | requests by their end: `stop`, `length`, `cancelled`, or the error's code |
/// | `fastvlm_batch_sequences` | recorder | sequences with a row in a step of the decoder |
/// | `fastvlm_images_total` | counter, `source` | images of answers: `encoded`, or `remembered` |
/// | `fastvlm_positions_total` | counter, `source` | positions of prompts: `computed`, or `remembered` |
/// | `fastvlm_tokens_total` | counter | tokens of answers |
/// | `fastvlm_stage_seconds` | timer, `stage` | `decode_image`, `preprocess`, `encode`, `project`, `prefill` of an answer |
/// | `fastvlm_first_token_seconds` | timer | from image bytes to the first token, without waiting for others |
/// | `fastvlm_token_seconds` | timer | each further token |
struct EngineMetrics: Sendable {
    private let factory: any MetricsFactory
    private let waiting: Meter
    private let running: Meter
    private let sequences: Recorder
    private let encodedImages: Counter
    private let rememberedImages: Counter
    private let computedPositions: Counter
    private let rememberedPositions: Counter
    private let tokens: Counter
    private let stages: [(Timer, @Sendable (Timings) -> Double)]
    private let firstToken: Timer
    private let furtherToken: Timer

    /// - Parameter factory: nil takes the program's
    /// - Returns: nil where nobody listens.
    init?(_ factory: (any MetricsFactory)?) {
        let factory = factory ?? MetricsSystem.factory
        if factory is NOOPMetricsHandler { return nil }
        self.factory = factory
        func counter(_ label: String, _ source: String) -> Counter {
            Counter(label: label, dimensions: [("source", source)], factory: factory)
        }
        func stage(_ name: String) -> Timer {
            Timer(label: "fastvlm_stage_seconds", dimensions: [("stage", name)], factory: factory)
        }
        waiting = Meter(label: "fastvlm_requests_waiting", factory: factory)
        running = Meter(label: "fastvlm_requests_running", factory: factory)
        sequences = Recorder(
            label: "fastvlm_batch_sequences", dimensions: [], aggregate: true, factory: factory)
        encodedImages = counter("fastvlm_images_total", "encoded")
        rememberedImages = counter("fastvlm_images_total", "remembered")
        computedPositions = counter("fastvlm_positions_total", "computed")
        rememberedPositions = counter("fastvlm_positions_total", "remembered")
        tokens = Counter(label: "fastvlm_tokens_total", factory: factory)
        stages = [
            (stage("decode_image"), \.decodeImage), (stage("preprocess"), \.preprocess),
            (stage("encode"), \.encode), (stage("project"), \.project), (stage("prefill"), \.prefill),
        ]
        firstToken = Timer(label: "fastvlm_first_token_seconds", factory: factory)
        furtherToken = Timer(label: "fastvlm_token_seconds", factory: factory)
    }

    /// How many requests wait and are worked on.
    func record(waiting: Int, running: Int) {
        self.waiting.set(waiting)
        self.running.set(running)
    }

    /// A step of the decoder.
    func record(sequences count: Int) { sequences.record(count) }

    /// Images of a request that is to be answered.
    func record(images: Int, remembered: Int) {
        if images > remembered { encodedImages.increment(by: images - remembered) }
        if remembered > 0 { rememberedImages.increment(by: remembered) }
    }

    func record(_ answer: Answer) {
        end(answer.finishReason.rawValue)
        computedPositions.increment(by: answer.usage.promptTokens)
        rememberedPositions.increment(by: answer.usage.cachedTokens)
        tokens.increment(by: answer.usage.completionTokens)
        for (timer, seconds) in stages where seconds(answer.timings) > 0 {
            timer.recordSeconds(seconds(answer.timings))
        }
        firstToken.recordSeconds(answer.timings.timeToFirstToken)
        for seconds in answer.timings.perToken { furtherToken.recordSeconds(seconds) }
    }

    /// A request without an answer.
    func record(_ error: any Error) {
        end((error as? FastVLMError)?.code.rawValue ?? "cancelled")
    }

    private func end(_ outcome: String) {
        Counter(label: "fastvlm_requests_total", dimensions: [("outcome", outcome)], factory: factory)
            .increment()
    }
}

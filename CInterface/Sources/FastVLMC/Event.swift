internal import FastVLM
internal import FoundationEssentials

/// What fastvlm_next tells, as JSON; only what belongs to the event is there.
struct Event: Sendable, Encodable {
    let event: String
    var position: Int?
    var stage: String?
    var fraction: Double?
    var token: AnswerToken?
    var text: String?
    var answer: Answer?
    var information: ModelInformation?
    var score: Score?
    var tokens: Int?
    var featureChannels: Int?
    var hiddenSize: Int?
    var seconds: ImageFeatures.Seconds?
    var remarks: [String]?

    /// A text's score with what follows from its tokens.
    struct Score: Sendable, Encodable {
        let tokens: [TextScore.Token]
        let logProbability: Double
        let perplexity: Double
    }

    init(_ event: String) { self.event = event }

    init(_ event: AnswerEvent) {
        switch event {
        case .queued(let position):
            self.init("queued")
            self.position = position
        case .progress(let stage, let fraction): self.init(stage: stage.rawValue, fraction: fraction)
        case .token(let token):
            self.init("token")
            self.token = token
        case .text(let text):
            self.init("text")
            self.text = text
        case .finished(let answer):
            self.init("finished")
            self.answer = answer
        }
    }

    init(stage: String, fraction: Double) {
        self.init("progress")
        self.stage = stage
        self.fraction = fraction
    }

    init(_ score: TextScore) {
        self.init("scored")
        self.score = Score(
            tokens: score.tokens, logProbability: score.logProbability, perplexity: score.perplexity)
    }

    init(_ features: ImageFeatures) {
        self.init("encoded")
        tokens = features.tokens
        featureChannels = features.featureChannels
        hiddenSize = features.hiddenSize
        seconds = features.seconds
        remarks = features.remarks
    }
}

/// A value as JSON. Numbers that are none become texts.
func json(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
        positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
    return String(decoding: try encoder.encode(value), as: UTF8.self)
}

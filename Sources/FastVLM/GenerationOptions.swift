internal import Generation

/// How an answer is generated. The defaults are greedy: the same question gives the same answer. What the checkpoint
/// itself asks for is ``VisionLanguageModel/checkpointOptions()``.
///
/// ```swift
/// var options = GenerationOptions()
/// options.temperature = 0.2
/// options.seed = 7
/// options.maximumTokens = 64
/// ```
public struct GenerationOptions: Sendable, Hashable {
    /// 0 always takes the best token; above 0 samples. Apple's script uses 0.2.
    public var temperature: Float = 0
    /// Keeps the k best tokens; 0 keeps all. Applies when sampling, as do the next two.
    public var topK = 50
    /// Keeps the smallest set of best tokens whose probabilities reach p.
    public var topP: Float = 1
    /// Drops tokens below this share of the best one's probability.
    public var minP: Float = 0
    /// Above 1 discourages tokens that occurred already.
    public var repetitionPenalty: Float = 1
    /// Makes sampling reproducible.
    public var seed: UInt64?
    /// Most tokens to generate.
    public var maximumTokens = 256
    /// Texts that end the answer; they are not part of it.
    public var stop: [String] = []
    /// Token ids that end the answer, beside the checkpoint's own.
    public var stopIDs: Set<Int> = []
    /// Longest time from the question to the end of the answer, waiting included; afterwards the request ends with an
    /// error of the code `deadlineExceeded`. nil sets no limit.
    public var timeLimit: Duration?
    /// Requests of a higher priority go first: where they wait, and of those that are worked on at the same time their
    /// prompts and images before others', and they keep their keys and values where memory is short. Equals go in the order
    /// in which they came. Once 16 others have gone before the request that has waited longest, it is that one's turn, so
    /// that nobody waits for ever.
    public var priority = 0
    /// Number of alternatives to report with each token's log-probability; nil reports none.
    public var logProbabilities: Int?
    /// Replaces the template's system prompt, where no message does (``Message/system(_:)``).
    public var system: String?
    /// Whether `<image>` in the text says where an image goes. Otherwise it is plain text, and the images stand
    /// before the text.
    public var placesImages = false
    /// What the log calls the request (metadata `request`); nil takes a number.
    public var requestID: String?

    /// Seconds: some thirty years.
    static let longestTimeLimit = 1_000_000_000

    /// A time that clocks can count.
    static func possible(_ limit: Duration) -> Duration { min(max(limit, .zero), .seconds(longestTimeLimit)) }

    public init() {}

    func apply(to request: inout GenerationRequest) {
        request.sampling.temperature = temperature
        request.sampling.topK = topK
        request.sampling.topP = topP
        request.sampling.minP = minP
        request.sampling.repetitionPenalty = repetitionPenalty
        request.sampling.seed = seed
        request.maximumTokens = maximumTokens
        request.stopStrings = stop
        request.stopIDs = stopIDs
        request.probabilities = logProbabilities
        request.priority = priority
    }
}

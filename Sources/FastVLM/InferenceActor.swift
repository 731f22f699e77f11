internal import Checkpoints
internal import Dispatch
internal import Foundation
internal import Generation
internal import ImageInput
internal import Models
internal import Tensors
internal import Tokenization

/// Runs an actor's jobs on one thread of their own: inference computes for seconds, which must not occupy the
/// threads that Swift's tasks share.
final class InferenceExecutor: SerialExecutor {
    private let queue = DispatchQueue(label: "fastvlm.inference", qos: .userInitiated)

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }
}

/// What a conversation keeps between turns.
///
/// Only ``InferenceActor`` reads and writes it after its creation, one job at a time; that is what makes
/// `@unchecked Sendable` true.
final class Conversation: @unchecked Sendable {
    fileprivate let cache: KeyValueCache
    /// Generated token whose keys and values are not in the cache yet and that the next turn starts with.
    fileprivate var pending: [Int] = []
    fileprivate var history: [Int] = []
    fileprivate var hasAnswered = false

    init(_ cache: KeyValueCache) { self.cache = cache }
}

/// One turn to answer.
struct Turn: Sendable {
    var text: String
    var images: [ImageSource]
    var options: GenerationOptions
}

/// Owns the networks' scratch memory and does one thing at a time.
actor InferenceActor {
    private let executor = InferenceExecutor()
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private let engine: GenerationEngine
    private let preparation: ImagePreparation
    private let template: ChatTemplate

    init(engine: sending GenerationEngine, preparation: ImagePreparation, template: ChatTemplate) {
        self.engine = engine
        self.preparation = preparation
        self.template = template
    }

    /// Answers the next turn of a conversation; on an error the conversation is as it was before.
    func answer(
        _ turn: Turn, in conversation: Conversation, cancellation: Cancellation,
        progress: @Sendable (Double) -> Void, emit: (AnswerPiece) -> Void
    ) throws -> Answer {
        let clock = ContinuousClock()
        let start = clock.now
        var request = GenerationRequest(prompt: try prompt(for: turn, in: conversation))
        turn.options.apply(to: &request)
        request.history = conversation.history
        // Everything about the request that can be refused is refused before images are decoded.
        try request.validate()
        try checkContext(request.prompt, cached: conversation.cache.count)

        var stages = ImagePreparation.Durations()
        request.images = try turn.images.map { source in
            guard !cancellation.isCancelled else { throw CancellationError() }
            return try preparation.prepare(source, durations: &stages)
        }
        var text = ""
        var tokens: [AnswerToken] = []
        var first: ContinuousClock.Instant?
        let cached = conversation.cache.count
        let outcome = try engine.generate(
            request, cache: conversation.cache, cancellation: cancellation, progress: progress
        ) { piece in
            first = first ?? clock.now
            text += piece.text
            let token = AnswerToken(piece)
            if let token { tokens.append(token) }
            emit(AnswerPiece(text: piece.text, token: token, answer: nil))
        }
        remember(outcome, request: request, in: conversation)
        // A token that ends the turn is chosen but never shown.
        if let ending = outcome.ending, let token = AnswerToken(ending) { tokens.append(token) }
        let end = clock.now
        return Answer(
            text: text, tokens: tokens, finishReason: outcome.finish == .stop ? .stop : .length,
            usage: Usage(
                promptTokens: outcome.promptPositions, imageTokens: outcome.imagePositions,
                cachedTokens: cached, completionTokens: outcome.ids.count),
            timings: Timings(
                decodeImage: stages.decode.seconds, preprocess: stages.preprocess.seconds,
                encode: outcome.durations.encode.seconds, project: outcome.durations.project.seconds,
                prefill: outcome.durations.prefill.seconds,
                timeToFirstToken: ((first ?? end) - start).seconds,
                perToken: outcome.durations.decode.map(\.seconds), total: (end - start).seconds))
    }

    /// Encodes an image without a prompt.
    func encode(_ source: ImageSource, cancellation: Cancellation) throws -> ImageFeatures {
        var stages = ImagePreparation.Durations()
        let pixels = try preparation.prepare(source, durations: &stages)
        var durations = StageDurations()
        let (features, projected) = try engine.encode(
            pixels, durations: &durations, cancellation: cancellation)
        return ImageFeatures(
            features: features, projected: projected,
            seconds: .init(
                decodeImage: stages.decode.seconds, preprocess: stages.preprocess.seconds,
                encode: durations.encode.seconds, project: durations.project.seconds))
    }

    private func prompt(for turn: Turn, in conversation: Conversation) throws -> Prompt {
        guard !turn.text.isEmpty || !turn.images.isEmpty else { throw GenerationError.emptyPrompt }
        let message =
            turn.options.placesImages
            ? try Message.user(placing: turn.text, images: turn.images.indices)
            : Message.user(turn.text, images: turn.images.indices)
        let pieces = template.render(
            next: message, system: turn.options.system, answered: conversation.hasAnswered)
        return try Prompt(
            pieces, tokenizer: engine.tokenizer, template: template,
            startsSequence: !conversation.hasAnswered, leading: conversation.pending)
    }

    private func checkContext(_ prompt: Prompt, cached: Int) throws {
        let needed = cached + prompt.length(tokensPerImage: engine.network.tokensPerImage)
        guard needed <= engine.contextLimit else {
            throw GenerationError.contextExceeded(needed: needed, limit: engine.contextLimit)
        }
    }

    private func remember(
        _ outcome: GenerationOutcome, request: GenerationRequest, in conversation: Conversation
    ) {
        conversation.hasAnswered = true
        conversation.history += request.prompt.tokenIDs + outcome.ids
        let ended = outcome.ids.last.map(engine.network.configuration.endOfSequenceIDs.contains) ?? true
        conversation.pending = ended ? [] : Array(outcome.ids.suffix(1))
    }
}

extension AnswerToken {
    fileprivate init?(_ piece: GeneratedPiece) {
        guard let id = piece.id else { return nil }
        self.init(
            id: id, logProbability: piece.probability?.logProbability,
            alternatives: piece.alternatives.map {
                Alternative(id: $0.id, logProbability: $0.logProbability)
            })
    }
}

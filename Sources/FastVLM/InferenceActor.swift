internal import Checkpoints
internal import Dispatch
internal import Generation
internal import ImageInput
internal import Models
internal import Tensors

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
/// Its turns are taken one after the other: whoever holds `line` may read and change it, the preparation of a turn first
/// and ``InferenceActor`` after it. Other requests only read its cache and symbols, on the actor, which is where those
/// change; that is what makes `@unchecked Sendable` true.
final class Conversation: @unchecked Sendable {
    /// Turns in the order in which they were asked.
    let line = WeightedSemaphore(1)
    let cache: KeyValueCache
    /// What the positions of the cache mean.
    var symbols: [PromptSymbol] = []
    /// Generated token whose keys and values are not in the cache yet and that the next turn starts with.
    fileprivate(set) var pending: [Int] = []
    fileprivate var history: [Int] = []
    fileprivate(set) var hasAnswered = false

    init(_ cache: KeyValueCache) { self.cache = cache }
}

/// Owns the networks' scratch memory and does one thing at a time.
actor InferenceActor {
    private let executor = InferenceExecutor()
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// Requests that are ready, in the order in which they became so. One that is cancelled leaves it at once, which
    /// it could not do among the actor's jobs.
    nonisolated let line = WeightedSemaphore(1)
    private let engine: GenerationEngine
    private let images: ImageMemory
    private var prompts: PromptMemory

    init(engine: sending GenerationEngine, images: ImageMemory, prompts: PromptMemory) {
        self.engine = engine
        self.images = images
        self.prompts = prompts
    }

    /// Answers the next turn of a conversation; on an error the conversation is as it was before.
    func answer(
        _ turn: PreparedTurn, in conversation: Conversation, cancellation: Cancellation,
        progress: @Sendable (Double) -> Void, emit: (AnswerPiece) -> Void
    ) throws -> Answer {
        let isNew = conversation.symbols.isEmpty
        let cached = conversation.cache.count
        do {
            return try answer(
                turn, in: conversation, isNew: isNew, cancellation: cancellation, progress: progress,
                emit: emit)
        } catch {
            conversation.cache.truncate(to: cached)
            // What a new conversation took over from another one.
            if isNew { conversation.symbols = [] }
            throw error
        }
    }

    private func answer(
        _ turn: PreparedTurn, in conversation: Conversation, isNew: Bool, cancellation: Cancellation,
        progress: @Sendable (Double) -> Void, emit: (AnswerPiece) -> Void
    ) throws -> Answer {
        try cancellation.check()
        let clock = ContinuousClock()
        let start = clock.now
        let pictures = turn.images.map(lookAgain)
        let symbols = symbols(turn.prompt, pictures)
        if isNew { try prompts.fill(conversation, from: symbols) }
        let shared = isNew ? conversation.symbols.count : 0
        var request = GenerationRequest(prompt: turn.prompt.dropping(shared))
        turn.options.apply(to: &request)
        request.images = pictures.map(\.content)
        request.history =
            conversation.history
            + symbols.prefix(shared).compactMap { if case .token(let id) = $0 { id } else { nil } }
        var text = ""
        var tokens: [AnswerToken] = []
        var first: ContinuousClock.Instant?
        let cached = conversation.cache.count
        let outcome = try engine.generate(
            request, cache: conversation.cache, cancellation: cancellation, progress: progress,
            encoded: { index, tokens in
                images.keep(
                    tokens, of: pictures[index].bytes, identity: pictures[index].identity,
                    remarks: pictures[index].remarks)
            },
            emit: { piece in
                first = first ?? clock.now
                text += piece.text
                let token = AnswerToken(piece)
                if let token { tokens.append(token) }
                emit(AnswerPiece(text: piece.text, token: token, answer: nil))
            })
        // Nobody has seen the end of an answer that was left before it.
        try cancellation.check()
        remember(
            outcome, prompt: turn.prompt, symbols: symbols.dropFirst(shared), in: conversation)
        // A token that ends the turn is chosen but never shown.
        if let ending = outcome.ending, let token = AnswerToken(ending) { tokens.append(token) }
        let end = clock.now
        return Answer(
            text: text, tokens: tokens, finishReason: outcome.finish == .stop ? .stop : .length,
            usage: Usage(
                promptTokens: outcome.promptPositions, imageTokens: outcome.imagePositions,
                cachedTokens: cached, completionTokens: outcome.ids.count),
            timings: Timings(
                decodeImage: turn.durations.decode.seconds, preprocess: turn.durations.preprocess.seconds,
                encode: outcome.durations.encode.seconds, project: outcome.durations.project.seconds,
                prefill: outcome.durations.prefill.seconds,
                timeToFirstToken: (turn.elapsed + ((first ?? end) - start)).seconds,
                perToken: outcome.durations.decode.map(\.seconds),
                total: (turn.elapsed + (end - start)).seconds),
            remarks: turn.remarks)
    }

    /// A request that ran meanwhile may have encoded the same image.
    private func lookAgain(_ image: TurnImage) -> TurnImage {
        guard case .pixels = image.content, let known = images.find(image.bytes) else { return image }
        var image = image
        image.identity = known.identity
        image.content = .encoded(known.tokens)
        return image
    }

    func forget() {
        images.forget()
        prompts.forget()
    }

    /// Encodes an image without a prompt.
    func encode(
        _ image: PreparedPixels, durations stages: ImagePreparation.Durations, cancellation: Cancellation
    ) throws -> ImageFeatures {
        var durations = StageDurations()
        let (features, projected) = try engine.encode(
            image.pixels, durations: &durations, cancellation: cancellation)
        return ImageFeatures(
            features: features, projected: projected,
            seconds: .init(
                decodeImage: stages.decode.seconds, preprocess: stages.preprocess.seconds,
                encode: durations.encode.seconds, project: durations.project.seconds),
            remarks: image.remarks)
    }

    /// One per token or image of a prompt.
    private func symbols(_ prompt: Prompt, _ images: [TurnImage]) -> [PromptSymbol] {
        prompt.elements.flatMap { element -> [PromptSymbol] in
            switch element {
            case .tokens(let ids): ids.map { .token($0) }
            case .image(let index):
                // The engine refuses a prompt that refers to an image that was not given.
                images.indices.contains(index)
                    ? [.image(images[index].identity, positions: engine.network.tokensPerImage)] : []
            }
        }
    }

    private func remember(
        _ outcome: GenerationOutcome, prompt: Prompt, symbols: ArraySlice<PromptSymbol>,
        in conversation: Conversation
    ) {
        conversation.hasAnswered = true
        conversation.history += prompt.tokenIDs + outcome.ids
        conversation.symbols += symbols
        // The last token of an answer is chosen, but may not have gone through the decoder.
        let positions = conversation.symbols.reduce(0) { $0 + $1.positions }
        conversation.symbols += outcome.ids.prefix(max(conversation.cache.count - positions, 0))
            .map { .token($0) }
        prompts.keep(conversation)
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

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
    let cache: KeyValueCache
    /// What the positions of the cache stand for.
    var symbols: [PromptSymbol] = []
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
    private var images: ImageMemory
    private var prompts: PromptMemory
    /// Images that were expected while loading and not asked about yet.
    private var prepared: [PreparedImage]

    init(
        engine: sending GenerationEngine, preparation: ImagePreparation, template: ChatTemplate,
        images: ImageMemory, prompts: PromptMemory, prepared: [PreparedImage]
    ) {
        self.engine = engine
        self.preparation = preparation
        self.template = template
        self.images = images
        self.prompts = prompts
        self.prepared = prepared
    }

    /// Answers the next turn of a conversation; on an error the conversation is as it was before.
    func answer(
        _ turn: Turn, in conversation: Conversation, cancellation: Cancellation,
        progress: @Sendable (Double) -> Void, emit: (AnswerPiece) -> Void
    ) throws -> Answer {
        let isNew = conversation.symbols.isEmpty
        do {
            return try answer(
                turn, in: conversation, isNew: isNew, cancellation: cancellation, progress: progress,
                emit: emit)
        } catch {
            // What a new conversation took over from another one.
            if isNew {
                conversation.cache.truncate(to: 0)
                conversation.symbols = []
            }
            throw error
        }
    }

    private func answer(
        _ turn: Turn, in conversation: Conversation, isNew: Bool, cancellation: Cancellation,
        progress: @Sendable (Double) -> Void, emit: (AnswerPiece) -> Void
    ) throws -> Answer {
        let clock = ContinuousClock()
        let start = clock.now
        let prompt = try prompt(for: turn, in: conversation)
        var request = GenerationRequest(prompt: prompt)
        turn.options.apply(to: &request)
        request.history = conversation.history
        // Everything about the request that can be refused is refused before images are decoded.
        try request.validate()
        try checkContext(prompt, cached: conversation.cache.count)

        var stages = ImagePreparation.Durations()
        var known: [ImageMemory.Known] = []
        for source in turn.images {
            try cancellation.check()
            let bytes = try preparation.read(source, durations: &stages)
            let image = images.find(bytes)
            known.append(image)
            let ready = takePrepared(bytes)
            request.images.append(
                try image.tokens.map { .encoded($0) }
                    ?? .pixels(ready ?? preparation.prepare(bytes, durations: &stages)))
        }
        let symbols = symbols(prompt, known)
        if isNew { try prompts.fill(conversation, from: symbols) }
        let shared = isNew ? conversation.symbols.count : 0
        request.prompt = prompt.dropping(shared)
        request.history += symbols.prefix(shared).compactMap {
            if case .token(let id) = $0 { id } else { nil }
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
        for (index, tokens) in outcome.encoded { images.keep(tokens, of: known[index]) }
        remember(outcome, prompt: prompt, symbols: symbols.dropFirst(shared), in: conversation)
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

    private func takePrepared(_ bytes: Data) -> PixelTensor? {
        guard let place = prepared.firstIndex(where: { $0.bytes == bytes }) else { return nil }
        return prepared.remove(at: place).pixels
    }

    func forget() {
        prepared = []
        images.forget()
        prompts.forget()
    }

    /// Encodes an image without a prompt.
    func encode(_ source: ImageSource, cancellation: Cancellation) throws -> ImageFeatures {
        var stages = ImagePreparation.Durations()
        let bytes = try preparation.read(source, durations: &stages)
        let pixels = try takePrepared(bytes) ?? preparation.prepare(bytes, durations: &stages)
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

    /// One per token or image of a prompt.
    private func symbols(_ prompt: Prompt, _ images: [ImageMemory.Known]) -> [PromptSymbol] {
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

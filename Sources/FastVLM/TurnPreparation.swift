internal import Checkpoints
internal import Generation
internal import ImageInput
internal import Models
internal import StructuredOutput
internal import Synchronization
internal import Tensors
internal import Tokenization

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// Prepares turns beside the engine: many at once, within limits. Cancelling the calling task ends it, also while it
/// waits for a pipe or a slow file system.
final class TurnPreparation: Sendable {
    let images: ImagePreparation
    private let template: ChatTemplate
    let tokenizer: Tokenizer
    private let network: VisionLanguageNetwork
    let memory: ImageMemory
    private let formats: FormatCompiler
    let limits: PreparationLimits
    /// Images that were expected while loading and not asked about yet.
    let expected: Mutex<[PreparedImage]>

    init(
        images: ImagePreparation, template: ChatTemplate, tokenizer: Tokenizer,
        network: VisionLanguageNetwork,
        memory: ImageMemory, limits: PreparationLimits, expected: [PreparedImage]
    ) {
        self.images = images
        self.template = template
        self.tokenizer = tokenizer
        self.network = network
        self.memory = memory
        formats = FormatCompiler(tokenizer, vocabulary: network.configuration.text.vocabularySize)
        self.limits = limits
        self.expected = Mutex(expected)
    }

    /// Reads and decodes what a turn needs, and waits until it may be worked on. To be followed by ``release(_:)``.
    /// - Parameters:
    ///   - conversation: must be at rest until the turn is over
    ///   - admission: of the request; what the turn itself gives is counted already
    ///   - queued: receives the turn's place among those that wait to be worked on, 1 for the next one
    func prepare(
        _ turn: Turn, in conversation: Conversation, admission: PreparationLimits.Admission,
        queued: @escaping @Sendable (Int) -> Void = { _ in }
    ) async throws -> PreparedTurn {
        let clock = ContinuousClock()
        let start = clock.now
        let history = conversation.hasAnswered ? [] : conversation.history
        try admission.bring(history.reduce(0) { $0 + $1.bytes })
        let messages = history + (try turn.messages())
        // A megabyte of text takes a tenth of a second.
        let bytes = messages.reduce(turn.options.system?.utf8.count ?? 0) { $0 + $1.textBytes }
        let prompt =
            bytes < 1 << 14
            ? try prompt(of: messages, system: turn.options.system, in: conversation)
            : try await offTaskThreads { _ in
                try self.prompt(of: messages, system: turn.options.system, in: conversation)
            }
        let sources = messages.flatMap(\.images)
        var request = GenerationRequest(prompt: prompt)
        turn.options.apply(to: &request)
        // Everything about the request that can be refused is refused before images are read.
        try request.validate(vocabulary: network.configuration.text.vocabularySize)
        let side = try side(turn.options)
        try checkContext(
            prompt, before: conversation.positions(network.positions(of:)),
            tokensPerImage: network.configuration.visualTokens(side: side))
        let format = try await compiled(turn.options.format, for: request)
        if let format { try admission.bring(format.bytes) }
        var prepared = PreparedTurn(
            prompt: prompt, options: turn.options, format: format, admission: admission)
        prepared.isSingleImage = conversation.imageCount + sources.count == 1
        if !sources.isEmpty, let pixels = conversation.multiImagePixels {
            prepared.first = .init(.pixels(pixels), identity: memory.newIdentity())
        }
        let planned = clock.now - start
        do {
            if sources.isEmpty {
                try await awaitTurn(&prepared, queued)
            } else {
                try await addImages(sources, to: &prepared, queued)
            }
        } catch {
            release(prepared)
            throw error
        }
        prepared.elapsed = planned + prepared.durations.decode + prepared.durations.preprocess
        return prepared
    }

    private func compiled(
        _ format: AnswerFormat?, for request: GenerationRequest
    ) async throws -> CompiledFormat? {
        guard let format else { return nil }
        let compiled = try await offTaskThreads { [formats] _ in try formats.compile(format) }
        try request.checkRoom(forAnswer: compiled.shortestAnswer)
        return compiled
    }

    /// A conversation that ends with an answer, its images as of ``prepare(_:in:admission:queued:)``. To be followed by
    /// ``release(_:)``.
    /// - Returns: the whole conversation, and the position at which the answer begins.
    func prepareAnswered(
        _ messages: [Message], _ options: GenerationOptions, admission: PreparationLimits.Admission
    ) async throws -> (turn: PreparedTurn, first: Int) {
        let (prompt, whole) = try await offTaskThreads { [template, tokenizer] _ in
            let pieces = try template.renderAnswered(Message.turns(messages, system: options.system))
            func prompt(_ pieces: [ChatTemplate.Piece]) throws -> Prompt {
                try Prompt(pieces, tokenizer: tokenizer, template: template, startsSequence: true)
            }
            return (try prompt(pieces.prompt), try prompt(pieces.whole))
        }
        try checkContext(
            whole, before: 0, tokensPerImage: network.configuration.visualTokens(side: side(options)))
        var prepared = PreparedTurn(prompt: whole, options: options, admission: admission)
        let sources = messages.flatMap(\.images)
        prepared.isSingleImage = sources.count == 1
        do {
            if sources.isEmpty {
                try await awaitTurn(&prepared) { _ in }
            } else {
                try await addImages(sources, to: &prepared) { _ in }
            }
        } catch {
            release(prepared)
            throw error
        }
        // The prompt's images by their place among those that differ.
        let places = prepared.places
        let images = prepared.images
        let length = prompt.commonLength(with: whole) { index in
            guard places.indices.contains(index) else { return network.tokensPerImage }
            return network.positions(of: images[places[index]].content.content)
        }
        return (prepared, length)
    }

    /// Pixels of an image that is not part of a turn.
    /// - Parameter isEncoded: whether the engine will work on it, for which it waits
    func pixels(
        of source: ImageSource, isEncoded: Bool, admission: PreparationLimits.Admission
    ) async throws -> (pixels: PreparedPixels, durations: ImagePreparation.Durations, turn: PreparedTurn) {
        var prepared = PreparedTurn(
            prompt: Prompt(elements: []), options: GenerationOptions(), admission: admission)
        do {
            let files = try await read([source], for: &prepared)
            if isEncoded { try await awaitTurn(&prepared) { _ in } }
            let pixels = try await decode(files, for: &prepared)
            guard let first = pixels.first else { throw CancellationError() }
            return (first, prepared.durations, prepared)
        } catch {
            release(prepared)
            throw error
        }
    }

    /// To be called once the turn is over.
    func release(_ turn: PreparedTurn) {
        for claim in turn.claims { claim.release() }
        for identity in turn.identities { memory.release(identity: identity) }
    }

    func forget() { expected.withLock { $0 = [] } }

    func awaitTurn(
        _ prepared: inout PreparedTurn, _ queued: @escaping @Sendable (Int) -> Void
    ) async throws {
        let place = limits.running.join(priority: prepared.options.priority, moved: queued)
        prepared.claims.append(place)
        try await place.granted()
    }

    // MARK: - Text

    /// - Parameter system: where the messages do not begin with a system prompt
    func prompt(
        of messages: [Message], system: String?, in conversation: Conversation? = nil
    ) throws(GenerationError) -> Prompt {
        let turns = try Message.turns(messages, system: conversation?.hasAnswered == true ? nil : system)
        guard conversation?.hasAnswered == true else {
            return try Prompt(
                template.render(turns), tokenizer: tokenizer, template: template, startsSequence: true)
        }
        guard turns.count == 1, let turn = turns.first, turn.role == .user else {
            throw .invalidConversation(reason: "a conversation goes on with one turn of the user's")
        }
        return try Prompt(
            template.render(next: turn, system: nil, answered: true), tokenizer: tokenizer,
            template: template,
            startsSequence: false)
    }

    /// - Parameter tokensPerImage: fewest positions of an image
    private func checkContext(_ prompt: Prompt, before: Int, tokensPerImage: Int) throws {
        let needed = before + prompt.length(tokensPerImage: tokensPerImage)
        let limit = network.configuration.maximumSequenceLength
        guard needed <= limit else { throw GenerationError.contextExceeded(needed: needed, limit: limit) }
    }

    /// Pixels per side of a question's images.
    /// - Throws: for a side that the model does not take.
    func side(_ options: GenerationOptions) throws -> Int {
        let configuration = network.configuration
        guard let side = options.imageSize, side != configuration.preprocessing.size else {
            return configuration.preprocessing.size
        }
        guard configuration.imageSideStep != nil else {
            throw FastVLMError(
                .invalidOption,
                "the model takes images of \(configuration.preprocessing.size) pixels a side only, got \(side)",
                option: "imageSize")
        }
        do {
            return try configuration.resized(to: side).preprocessing.size
        } catch {
            throw FastVLMError(.invalidOption, "\(error)", option: "imageSize")
        }
    }

    /// How a question's images become pixels.
    func images(_ options: GenerationOptions) throws -> ImagePreparation {
        let side = try side(options)
        return side == images.preprocessor.size ? images : try images.resized(to: side)
    }

    /// Positions of each image of a conversation. Reads a file only where its size matters.
    func positions(of sources: [ImageSource], _ options: GenerationOptions) throws -> [Int] {
        let configuration = network.configuration
        guard images.preprocessor.cutsTiles(isSingleImage: sources.count == 1) else {
            let side = try side(options)
            let count =
                side == configuration.preprocessing.size
                ? configuration.visualTokens(nil) : configuration.visualTokens(side: side)
            return sources.map { _ in count }
        }
        var durations = ImagePreparation.Durations()
        return try sources.map { source in
            let sides = try images.sides(
                images.read(source, durations: &durations, cancellation: Cancellation()))
            return configuration.visualTokens(
                configuration.preprocessing.arrangement(height: sides.height, width: sides.width))
        }
    }
}

internal import Checkpoints
internal import Generation
internal import ImageInput
internal import Logging
internal import Models
internal import Tensors
internal import Tokenization

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// A loaded FastVLM checkpoint that answers questions about images.
///
/// ```swift
/// let model = try await VisionLanguageModel(contentsOf: .directory(URL(filePath: "FastVLM-0.5B")))
/// for try await text in model.stream("What is this?", images: [.file(url)]) {
///     print(text, terminator: "")
/// }
/// ```
///
/// Safe to use from many tasks at once: images of several requests are read and decoded side by side, and their answers
/// are generated together, a token of each in every step (``LoadOptions/maximumRunning``). An answer does not depend on
/// the others. Cancelling the task that iterates a stream, or leaving its loop, ends the work with the step that is
/// running, and at once where the request waits for others or for a file.
public final class VisionLanguageModel: Sendable {
    /// What was loaded.
    public let information: ModelInformation
    /// Text to ids and back, as in the model's prompts.
    ///
    /// ```swift
    /// let ids = model.tokenizer.encode("How many cats are there?")
    /// ```
    public let tokenizer: TextTokenizer
    let actor: InferenceActor
    let preparation: TurnPreparation
    let answering: Answering
    /// Wrong values are nobody's fault until they are asked for.
    private let generationDefaults: Result<GenerationDefaults, CheckpointError>

    /// Reads, checks and packs a checkpoint. Its files must not be written to meanwhile, and those of a packed checkpoint
    /// not while the model lives: see ``ModelSource/directory(_:)``.
    ///
    /// ```swift
    /// let model = try await VisionLanguageModel(contentsOf: .directory(folder))
    /// ```
    /// - Throws: `FastVLMError` of kind `model` that names file, tensor, expected and got; `CancellationError`.
    public init(contentsOf source: ModelSource, options: LoadOptions = LoadOptions()) async throws {
        let loaded = try await Self.load(source, options)
        information = loaded.information
        generationDefaults = loaded.generationDefaults
        tokenizer = TextTokenizer(loaded.tokenizer)
        let metrics = EngineMetrics(options.metrics)
        let memory = ImageMemory(
            capacity: options.rememberedImages, byteLimit: options.rememberedImageBytes)
        preparation = TurnPreparation(
            images: loaded.preparation, template: loaded.template, tokenizer: loaded.tokenizer,
            network: loaded.network, memory: memory,
            limits: PreparationLimits(
                running: options.maximumRunning, waiting: options.maximumWaiting,
                bytes: options.requestBytes),
            expected: loaded.prepared)
        let engine = GenerationEngine(
            network: loaded.network, tokenizer: loaded.tokenizer, compute: loaded.compute,
            keyValueBytes: options.keyValueBytes)
        engine.prefersThroughput = options.prefersThroughput
        actor = InferenceActor(engine: engine, images: memory, metrics: metrics)
        answering = Answering(
            actor: actor, preparation: preparation, memory: memory, network: loaded.network,
            journal: RequestJournal(options.logger, metrics))
    }

    /// The text of an answer as it comes.
    ///
    /// ```swift
    /// for try await text in model.stream("What is this?", images: [.file(url)]) { print(text, terminator: "") }
    /// ```
    /// - Parameters:
    ///   - prompt: the question; plain text
    ///   - images: what it is about, in order; may be empty
    ///   - options: how the answer is generated
    /// - Returns: pieces of text, none empty; iteration throws `FastVLMError`. When the iterating task is cancelled, the
    ///   stream ends early, as `AsyncThrowingStream` does.
    public func stream(
        _ prompt: String, images: [ImageSource] = [], options: GenerationOptions = GenerationOptions()
    ) -> AsyncThrowingStream<String, any Error> {
        chat().stream(prompt, images: images, options: options)
    }

    /// An answer and what happens on the way to it.
    ///
    /// ```swift
    /// for try await event in model.events("What is this?", images: [.file(url)]) {
    ///     if case .queued(let position) = event { print("\(position) in the queue") }
    /// }
    /// ```
    /// - Parameters: as of ``stream(_:images:options:)``
    /// - Returns: events, `finished` last; iteration throws `FastVLMError`.
    public func events(
        _ prompt: String, images: [ImageSource] = [], options: GenerationOptions = GenerationOptions()
    ) -> AsyncThrowingStream<AnswerEvent, any Error> {
        chat().events(prompt, images: images, options: options)
    }

    /// The whole answer at once.
    ///
    /// ```swift
    /// let answer = try await model.answer("How many cats are there?", images: [.file(url)])
    /// print(answer.text, answer.timings.timeToFirstToken)
    /// ```
    /// - Throws: `FastVLMError`, `CancellationError`.
    public func answer(
        _ prompt: String, images: [ImageSource] = [], options: GenerationOptions = GenerationOptions()
    ) async throws -> Answer {
        try await chat().answer(prompt, images: images, options: options)
    }

    /// A conversation that remembers its turns. Starting one costs nothing.
    ///
    /// ```swift
    /// let session = model.chat(history: [.user("What is this?", images: [.file(url)]), .assistant("A banana.")])
    /// let answer = try await session.answer("Which colour?")
    /// ```
    /// - Parameter history: what was said before: perhaps the system's turn, then user and assistant in turn, assistant
    ///   last. What is wrong with it is told by the first question.
    public func chat(history: [Message] = []) -> ChatSession { ChatSession(answering, history: history) }

    /// How the checkpoint asks to be sampled, in its generation_config.json, as transformers applies it: greedy unless
    /// `do_sample` is true, else temperature, top-k, top-p and min-p; the repetition penalty either way.
    ///
    /// ```swift
    /// var options = try model.checkpointOptions()
    /// options.seed = 7
    /// let answer = try await model.answer("What is this?", images: [.file(url)], options: options)
    /// ```
    /// - Throws: `FastVLMError` of kind `model` for values that cannot be applied.
    public func checkpointOptions() throws -> GenerationOptions {
        do {
            return try GenerationOptions(generationDefaults.get())
        } catch {
            throw FastVLMError.translating(error)
        }
    }

    /// Forgets every image and prompt that was remembered for reuse (``LoadOptions/rememberedImages``). Conversations
    /// that were begun go on.
    ///
    /// ```swift
    /// await model.forget()
    /// ```
    public func forget() async {
        preparation.forget()
        answering.memory.forget()
        await actor.forget()
    }

    /// Visual features of an image and their projection to the decoder's width.
    ///
    /// ```swift
    /// let encoded = try await model.encode(.file(url))
    /// print(encoded.tokens, encoded.featureChannels)
    /// ```
    public func encode(_ image: ImageSource) async throws -> ImageFeatures {
        let encoded: AsyncThrowingStream<ImageFeatures, any Error> = abandonable {
            [actor, preparation] cancellation, yield in
            // Its place is free again before the caller sees the features.
            yield(try await Self.encode(image, actor, preparation, cancellation))
        }
        for try await features in encoded { return features }
        // The stream ends without them only when this task was cancelled.
        throw CancellationError()
    }

    private static func encode(
        _ image: ImageSource, _ actor: InferenceActor, _ preparation: TurnPreparation,
        _ cancellation: Cancellation
    ) async throws -> ImageFeatures {
        let admission = try preparation.limits.admit(bytes: image.givenBytes)
        defer { admission.leave() }
        let (pixels, durations, turn) = try await preparation.pixels(
            of: image, isEncoded: true, admission: admission)
        defer { preparation.release(turn) }
        let output = try await actor.encode(pixels.pixels, cancellation: cancellation)
        return ImageFeatures(output, of: pixels, durations: durations)
    }

    /// Reads and decodes an image as a question about it would, so that what is wrong with it is known before.
    ///
    /// ```swift
    /// try await model.check(.file(url))
    /// ```
    /// - Throws: `FastVLMError` of kind `image`, or with the code `overloaded`; `CancellationError`.
    public func check(_ image: ImageSource) async throws {
        let checked: AsyncThrowingStream<Void, any Error> = abandonable { [preparation] _, yield in
            try await Self.check(image, preparation)
            yield(())
        }
        for try await _ in checked { return }
        // The stream ends without a word only when this task was cancelled.
        throw CancellationError()
    }

    private static func check(_ image: ImageSource, _ preparation: TurnPreparation) async throws {
        let admission = try preparation.limits.admit(bytes: image.givenBytes)
        defer { admission.leave() }
        let (_, _, turn) = try await preparation.pixels(
            of: image, isEncoded: false, admission: admission)
        preparation.release(turn)
    }

    // MARK: - Loading

    private struct Loaded: Sendable {
        var information: ModelInformation
        var generationDefaults: Result<GenerationDefaults, CheckpointError>
        var network: VisionLanguageNetwork
        var tokenizer: Tokenizer
        var template: ChatTemplate
        var preparation: ImagePreparation
        var prepared: [PreparedImage]
        var compute: Compute
    }

    private static func load(_ source: ModelSource, _ options: LoadOptions) async throws -> Loaded {
        do {
            return try await loadParts(source, options)
        } catch {
            throw FastVLMError.translating(error)
        }
    }

    private static func loadParts(_ source: ModelSource, _ options: LoadOptions) async throws -> Loaded {
        let clock = ContinuousClock()
        let start = clock.now
        try options.check()
        let (directory, tower) = (try source.directory(), try source.visionTower())
        let adapters = try options.adapters.map {
            try localFile($0, what: "an adapter's folder", code: .invalidOption)
        }
        let checkpoint = try await offTaskThreads { _ in
            try Checkpoint(directory: directory, tower: tower, adapters: adapters)
        }
        for remark in checkpoint.remarks { options.logger.notice("\(remark)") }
        options.logger.info(
            "\(checkpoint.layout) checkpoint in \(checkpoint.directory.path); headers read in \((clock.now - start).seconds) s"
        )
        let configuration = try adjusted(checkpoint.configuration, options)
        let compute = try Compute(threads: options.threads)
        let precision = options.precision ?? checkpoint.layout.precision
        let geometry = options.geometry ?? configuration.preprocessing.geometry
        let preparation = ImagePreparation(
            limits: options.imageLimits, options: options.imageOptions,
            preprocessor: try ImagePreparation.preprocessor(configuration, geometry: geometry))
        // A large vocabulary takes a third of a second on one thread, and a photograph a fifth, so they are read beside
        // the weights. What is wrong with the vocabulary is reported soon: leaving this scope cancels the rest.
        async let prepared = onOwnThread { cancellation in
            preparation.prepareAhead(options.expectedImages, cancellation: cancellation)
        }
        async let packing = offTaskThreads { cancellation in
            try VisionLanguageNetwork(
                checkpoint.weights, configuration: configuration,
                precision: precision, compute: compute
            ) { fraction in
                try cancellation.check()
                options.progress?(fraction)
            }
        }
        let tokenizer = try await offTaskThreads { _ in
            let tokenizer = try Tokenizer(directory: checkpoint.directory)
            try checkpoint.check(tokens: tokenizer.textVocabularyCount)
            return tokenizer
        }
        let choice = try await offTaskThreads { _ in
            try TemplateChoice.choose(
                named: options.template, configuration: configuration, tokenizer: tokenizer,
                directory: checkpoint.directory)
        }
        let remarks = tokenizer.remarks + choice.remarks
        for remark in remarks { options.logger.notice("\(remark)") }
        let template = choice.template
        let network = try await packing
        try checkpoint.checkUnchanged()
        let images = try await prepared
        for remark in network.remarks { options.logger.notice("\(remark)") }
        options.logger.info(
            "tokenizer read, weights packed for \(compute.instructionSet.rawValue) in \((clock.now - start).seconds) s"
        )
        return Loaded(
            information: ModelInformation(
                directory: checkpoint.directory, source: source, configuration: configuration,
                layout: checkpoint.layout,
                precision: precision, template: template, geometry: geometry,
                tokensPerImage: network.tokensPerImage, instructionSet: compute.instructionSet.rawValue,
                threads: compute.threads, loadSeconds: (clock.now - start).seconds,
                remarks: checkpoint.remarks.filter { $0.severity == .changesAnswers }.map(\.description)
                    + remarks + network.remarks),
            generationDefaults: Result { () throws(CheckpointError) in try checkpoint.generationDefaults() },
            network: network, tokenizer: tokenizer, template: template,
            preparation: preparation, prepared: images, compute: compute)
    }

    /// The checkpoint's configuration with what the caller asked for instead.
    private static func adjusted(
        _ configuration: ModelConfiguration, _ options: LoadOptions
    ) throws -> ModelConfiguration {
        var configuration = configuration
        if let side = options.imageSize {
            do {
                configuration = try configuration.resized(to: side)
            } catch {
                // The caller asked for it; the checkpoint is not at fault.
                throw FastVLMError(.invalidOption, "\(error)", option: "imageSize")
            }
        }
        configuration = try options.applyingVisualTokens(to: configuration)
        let limit = configuration.maximumSequenceLength
        let asked = options.contextLength ?? configuration.usualSequenceLength
        guard (1...limit).contains(asked) else {
            throw GenerationError.invalidOption(
                name: "context length", expected: "1 to \(limit)", got: "\(asked)")
        }
        configuration.maximumSequenceLength = asked
        return configuration
    }
}

internal import Checkpoints
package import ImageInput
package import Models
package import Tensors
package import Tokenization

/// What to generate, beside the prompt itself.
package struct GenerationRequest: Sendable {
    package var prompt: Prompt
    /// The images that the prompt refers to, by index.
    package var images: [Image]
    package var sampling = SamplingOptions()
    package var maximumTokens = 256
    package var stopStrings: [String] = []
    /// Stop on these as well as on the checkpoint's own.
    package var stopIDs: Set<Int> = []
    /// Alternatives to report with each token; nil reports no probabilities at all.
    package var probabilities: Int?
    /// Text tokens that the repetition penalty knows from before this prompt.
    package var history: [Int] = []

    /// What is known of an image.
    package enum Image: Sendable {
        /// [S, S, 3], at the model's resolution.
        case pixels(PixelTensor)
        /// Visual tokens of an earlier request, [tokens, hidden size].
        case encoded(Tensor)
    }

    package init(prompt: Prompt, images: [PixelTensor] = []) {
        self.prompt = prompt
        self.images = images.map { .pixels($0) }
    }

    /// Checks the options, which needs neither network nor images.
    /// - Throws: `GenerationError.invalidOption` that names the first option out of range.
    package func validate() throws(GenerationError) {
        try sampling.validate()
        guard maximumTokens > 0 else {
            throw .invalidOption(name: "max tokens", expected: "at least 1", got: "\(maximumTokens)")
        }
        if let count = probabilities, !(0...20).contains(count) {
            throw .invalidOption(name: "top log-probabilities", expected: "0 to 20", got: "\(count)")
        }
        _ = try StopMatcher(stopStrings)
    }
}

/// A piece of an answer as it comes.
package struct GeneratedPiece: Sendable {
    /// Whole characters; may be empty while a character or a possible stop string is incomplete.
    package var text: String
    /// The token behind it; nil for text that was held back until the end.
    package var id: Int?
    package var probability: TokenProbability?
    package var alternatives: [TokenProbability] = []
}

/// Why generation ended.
package enum FinishReason: String, Sendable, Hashable {
    /// The model ended its turn, or a stop id or stop string came.
    case stop
    /// The token limit or the context was reached.
    case length
}

/// How long the stages took.
package struct StageDurations: Sendable, Hashable {
    package var encode: Duration = .zero
    package var project: Duration = .zero
    package var prefill: Duration = .zero
    /// One entry per decoded token after the first.
    package var decode: [Duration] = []

    package init() {}
}

/// What a generation came to.
package struct GenerationOutcome: Sendable {
    package var ids: [Int] = []
    package var finish: FinishReason = .length
    package var promptPositions = 0
    package var imagePositions = 0
    package var durations = StageDurations()
    /// The token that ended the answer; it is the last of `ids` and never emitted. Nil for other endings.
    package var ending: GeneratedPiece?
}

/// Runs the networks for one request after the other. Owns the scratch memory, hence not Sendable: whoever
/// wants to share it puts it into an actor.
package final class GenerationEngine {
    package let network: VisionLanguageNetwork
    package let tokenizer: Tokenizer
    private let compute: Compute
    private let workspace = Workspace()
    /// Vocabulary rows that the tokenizer knows: those beyond are padding and never sampled.
    private let usableVocabulary: Int

    package init(network: VisionLanguageNetwork, tokenizer: Tokenizer, compute: Compute) {
        self.network = network
        self.tokenizer = tokenizer
        self.compute = compute
        usableVocabulary = min(
            network.configuration.text.vocabularySize, tokenizer.vocabularyCount)
    }

    /// The longest sequence that the model was made for.
    package var contextLimit: Int { network.configuration.maximumSequenceLength }

    /// Bytes of scratch memory held for the next request.
    package var scratchBytes: Int { workspace.capacityBytes }

    /// Encodes one image.
    /// - Parameters:
    ///   - pixels: [S, S, 3]
    ///   - features: [tokens, feature channels], overwritten when given
    ///   - projected: [tokens, hidden size], overwritten
    package func encode(
        _ pixels: PixelTensor, features: Matrix?, projected: Matrix, durations: inout StageDurations,
        cancellation: Cancellation
    ) throws(TensorError) {
        let compute = compute.withCancellation(cancellation)
        let mark = workspace.mark()
        defer { workspace.release(to: mark) }
        let clock = ContinuousClock()
        let start = clock.now
        let output: Matrix
        if let features {
            output = features
        } else {
            output = try workspace.matrix(projected.rows, network.encoder.featureChannels)
        }
        let input = try workspace.map(height: pixels.size, width: pixels.size, channels: 3)
        _ = input.buffer.initialize(from: pixels.values)
        try network.encoder.encode(input, into: output, workspace: workspace, on: compute)
        let encoded = clock.now
        try compute.checkCancellation()
        try network.projector(output, into: projected, workspace: workspace, on: compute)
        // A flag raised within the projector leaves its output undefined.
        try compute.checkCancellation()
        durations.encode += encoded - start
        durations.project += clock.now - encoded
    }

    /// Encodes one image into new tensors: features [tokens, channels] and projected tokens [tokens, hidden].
    package func encode(
        _ pixels: PixelTensor, durations: inout StageDurations, cancellation: Cancellation
    ) throws(TensorError) -> (features: Tensor, projected: Tensor) {
        let mark = workspace.mark()
        defer { workspace.release(to: mark) }
        let tokens = network.encoder.tokens(side: pixels.size)
        let features = try workspace.matrix(tokens, network.encoder.featureChannels)
        let projected = try workspace.matrix(tokens, network.configuration.text.hiddenSize)
        try encode(
            pixels, features: features, projected: projected, durations: &durations,
            cancellation: cancellation)
        return (try features.copied(), try projected.copied())
    }

    /// Prefills the prompt behind what `cache` holds and generates until a stop or a limit.
    ///
    /// On an error or a cancellation the cache holds what it held before.
    /// - Parameters:
    ///   - cache: keys and values of earlier turns; afterwards also of this prompt and answer
    ///   - progress: fraction of the prefill done
    ///   - encoded: receives the visual tokens of an image, [tokens, hidden size], and its index as soon as it has been
    ///     encoded, whatever becomes of the answer
    ///   - emit: receives each piece as it comes; raising the flag in it ends generation
    /// - Throws: `GenerationError`, `TensorError.cancelled`.
    package func generate(
        _ request: GenerationRequest, cache: KeyValueCache, cancellation: Cancellation,
        progress: (Double) -> Void = { _ in }, encoded: (Int, Tensor) -> Void = { _, _ in },
        emit: (GeneratedPiece) -> Void
    ) throws -> GenerationOutcome {
        let before = cache.count
        do {
            return try run(
                request, cache: cache, cancellation: cancellation, progress: progress, encoded: encoded,
                emit: emit)
        } catch {
            cache.truncate(to: before)
            throw error
        }
    }

    private func run(
        _ request: GenerationRequest, cache: KeyValueCache, cancellation: Cancellation,
        progress: (Double) -> Void, encoded: (Int, Tensor) -> Void, emit: (GeneratedPiece) -> Void
    ) throws -> GenerationOutcome {
        let mark = workspace.mark()
        defer { workspace.release(to: mark) }
        let compute = compute.withCancellation(cancellation)
        var outcome = GenerationOutcome()
        let limit = try admit(request, cached: cache.count, outcome: &outcome)
        // A placeholder for an image means nothing in an answer.
        var sampler = try Sampler(
            request.sampling, history: request.history + request.prompt.tokenIDs,
            masked: [network.configuration.imageTokenID].compactMap { $0 }, kernels: compute.sampling)
        var text = try AnswerText(tokenizer, stops: request.stopStrings)

        let logits = try workspace.matrix(1, usableVocabulary)
        // Sized to what is needed soon; a longer answer makes it grow.
        try cache.reserve(cache.count + outcome.promptPositions + min(limit, 256))
        try prefill(
            request, cache: cache, logits: logits, outcome: &outcome, compute: compute, progress: progress,
            encoded: encoded)

        let scores = UnsafeMutableBufferPointer(start: logits.pointer, count: usableVocabulary)
        let stopIDs = request.stopIDs.union(network.configuration.endOfSequenceIDs)
        let step = try workspace.matrix(1, network.configuration.text.hiddenSize)
        let clock = ContinuousClock()
        while outcome.ids.count < limit {
            let id = try choose(&sampler, scores, request: request, position: cache.count, text: &text)
            outcome.ids.append(id.id)
            if stopIDs.contains(id.id) {
                outcome.finish = .stop
                outcome.ending = GeneratedPiece(
                    text: "", id: id.id, probability: id.probability, alternatives: id.alternatives)
                break
            }
            let (piece, stopped) = text.append(id)
            emit(piece)
            if stopped {
                // What came with the stop string is not part of the answer.
                outcome.finish = .stop
                return outcome
            }
            guard outcome.ids.count < limit else { break }
            let start = clock.now
            network.decoder.embed([id.id], into: step, on: compute)
            try network.decoder.prefill(
                step, cache: cache, logits: logits, workspace: workspace, on: compute)
            outcome.durations.decode.append(clock.now - start)
        }
        if let rest = text.finish() { emit(rest) }
        return outcome
    }

    /// Checks everything that can be checked before any work starts.
    /// - Returns: how many tokens may be generated.
    private func admit(
        _ request: GenerationRequest, cached: Int, outcome: inout GenerationOutcome
    ) throws(GenerationError) -> Int {
        try request.validate()
        let text = request.prompt.tokenIDs
        let lengths = request.prompt.imageIndices.map { imagePositions(request, $0) }
        guard text.allSatisfy({ (0..<network.configuration.text.vocabularySize).contains($0) }),
            lengths.allSatisfy({ $0 > 0 })
        else {
            throw .invalidOption(
                name: "prompt", expected: "token ids of the vocabulary and images that were given",
                got: "an id or image beyond them")
        }
        outcome.imagePositions = lengths.reduce(0, +)
        outcome.promptPositions = text.count + outcome.imagePositions
        guard outcome.promptPositions > 0 else { throw .emptyPrompt }
        // The last token generated needs no position of its own.
        let remaining = contextLimit - cached - outcome.promptPositions + 1
        guard remaining > 0 else {
            throw .contextExceeded(needed: cached + outcome.promptPositions, limit: contextLimit)
        }
        return min(request.maximumTokens, remaining)
    }

    /// Positions of an image; 0 where the request has no such image.
    private func imagePositions(_ request: GenerationRequest, _ index: Int) -> Int {
        guard request.images.indices.contains(index) else { return 0 }
        switch request.images[index] {
        case .pixels(let pixels):
            return network.encoder.tokens(side: pixels.size)
        case .encoded(let tokens):
            let hidden = network.configuration.text.hiddenSize
            return tokens.dataType == .float32 && tokens.shape.count == 2 && tokens.shape[1] == hidden
                ? tokens.shape[0] : 0
        }
    }

    /// Puts the projected images between the text embeddings and runs the decoder over all of it.
    private func prefill(
        _ request: GenerationRequest, cache: KeyValueCache, logits: Matrix,
        outcome: inout GenerationOutcome, compute: Compute, progress: (Double) -> Void,
        encoded: (Int, Tensor) -> Void
    ) throws {
        let mark = workspace.mark()
        defer { workspace.release(to: mark) }
        let embeddings = try workspace.matrix(
            outcome.promptPositions, network.configuration.text.hiddenSize)
        var row = 0
        var tokensOfImages: [Int: Tensor] = [:]
        for element in request.prompt.elements {
            switch element {
            case .tokens(let ids):
                network.decoder.embed(ids, into: embeddings.rows(row..<row + ids.count), on: compute)
                row += ids.count
            case .image(let index):
                let target = embeddings.rows(row..<row + imagePositions(request, index))
                switch (request.images[index], tokensOfImages[index]) {
                case (.encoded(let tokens), _), (_, let tokens?): target.copy(tokens)
                case (.pixels(let pixels), nil):
                    try encode(
                        pixels, features: nil, projected: target, durations: &outcome.durations,
                        cancellation: compute.cancellation ?? Cancellation())
                    let tokens = try target.copied()
                    tokensOfImages[index] = tokens
                    encoded(index, tokens)
                }
                row += target.rows
            }
        }
        let clock = ContinuousClock()
        let start = clock.now
        try network.decoder.prefill(
            embeddings, cache: cache, logits: logits, workspace: workspace, on: compute, progress: progress)
        outcome.durations.prefill += clock.now - start
    }

    private func choose(
        _ sampler: inout Sampler, _ scores: UnsafeMutableBufferPointer<Float>, request: GenerationRequest,
        position: Int, text: inout AnswerText
    ) throws -> AnswerText.Token {
        guard let count = request.probabilities else {
            guard let id = sampler.next(scores) else { throw GenerationError.notANumber(position: position) }
            return AnswerText.Token(id: id)
        }
        // The penalty changes the scores in place, the report is of the model's own distribution.
        let untouched = UnsafeMutableBufferPointer<Float>.allocate(capacity: scores.count)
        defer { untouched.deallocate() }
        _ = untouched.initialize(from: scores)
        sampler.mask(untouched)
        guard let id = sampler.next(scores) else { throw GenerationError.notANumber(position: position) }
        let report = Sampler.probabilities(untouched, of: id, alternatives: count)
        return AnswerText.Token(id: id, probability: report.chosen, alternatives: report.alternatives)
    }
}

/// Token ids to the characters that a reader may see: whole ones, without stop strings.
private struct AnswerText {
    struct Token {
        var id: Int
        var probability: TokenProbability?
        var alternatives: [TokenProbability] = []
    }

    private var detokenizer: StreamingDetokenizer
    private var matcher: StopMatcher

    init(_ tokenizer: Tokenizer, stops: [String]) throws(GenerationError) {
        detokenizer = StreamingDetokenizer(tokenizer)
        matcher = try StopMatcher(stops)
    }

    mutating func append(_ token: Token) -> (piece: GeneratedPiece, stopped: Bool) {
        let (text, stopped) = matcher.append(detokenizer.append(token.id))
        let piece = GeneratedPiece(
            text: text, id: token.id, probability: token.probability, alternatives: token.alternatives)
        return (piece, stopped)
    }

    mutating func finish() -> GeneratedPiece? {
        let (text, stopped) = matcher.append(detokenizer.finish())
        let rest = stopped ? text : text + matcher.finish()
        return rest.isEmpty ? nil : GeneratedPiece(text: rest)
    }
}

internal import Generation
internal import Tensors
internal import Tokenization

extension VisionLanguageModel {
    /// How likely a plain text is, token by token, without a conversation's template around it.
    ///
    /// ```swift
    /// let score = try await model.score("The quick brown fox jumps over the lazy dog.")
    /// print(score.perplexity)
    /// ```
    /// - Throws: `FastVLMError` with the code `contextExceeded` for a text that does not fit; see
    ///   ``score(windowsOf:length:stride:progress:)``. `CancellationError`.
    public func score(_ text: String) async throws -> TextScore {
        let admission = try preparation.limits.admit(bytes: text.utf8.count)
        defer { admission.leave() }
        let ids = try await ids(of: text)
        return try await scored { [actor] cancellation in
            try await actor.score(
                Prompt(elements: [.tokens(ids)]), images: [], from: 0, cancellation: cancellation)
        }
    }

    /// How likely the last answer of a conversation is, token by token: its text and the token that ends it, where the
    /// template has one. Everything before is given.
    ///
    /// ```swift
    /// let question = Message.user("Is there a cat?", images: [image])
    /// let yes = try await model.score(messages: [question, .assistant("Yes.")])
    /// let no = try await model.score(messages: [question, .assistant("No.")])
    /// print(yes.logProbability > no.logProbability)
    /// ```
    /// - Parameters:
    ///   - messages: perhaps the system's turn, then user and assistant in turn, assistant last
    ///   - options: only its `system` counts, where the messages do not begin with a system's turn, and its `priority`
    ///     while it waits
    /// - Throws: `FastVLMError`, `CancellationError`.
    public func score(
        messages: [Message], options: GenerationOptions = GenerationOptions()
    ) async throws -> TextScore {
        try await scored { [actor, preparation, memory = answering.memory] cancellation in
            let given = messages.reduce(options.system?.utf8.count ?? 0) { $0 + $1.bytes }
            let admission = try preparation.limits.admit(bytes: given)
            defer { admission.leave() }
            let (turn, first) = try await preparation.prepareAnswered(
                messages, options, admission: admission)
            defer { preparation.release(turn) }
            var images: [Tensor] = []
            for image in turn.images {
                switch image.content.content {
                case .encoded(let tokens): images.append(tokens)
                case .pixels(let pixels):
                    let tokens = try await actor.encode(pixels, cancellation: cancellation).projected
                    images.append(tokens)
                    // The next answer that is scored may be to the same question.
                    guard let identity = image.content.identity else { break }
                    memory.keep(
                        tokens, of: image.name, identity: identity, remarks: image.remarks,
                        multiImagePixels: image.multiImagePixels)
                }
            }
            return try await actor.score(
                turn.prompt, images: images, from: first, cancellation: cancellation)
        }
    }

    /// How likely a text of any length is: in windows that overlap, so that every token but those of the first window has
    /// at least `length - stride` tokens before it.
    ///
    /// ```swift
    /// let score = try await model.score(windowsOf: book, length: 2048, stride: 1024) { print($0) }
    /// print(score.perplexity)
    /// ```
    /// - Parameters:
    ///   - text: of any length
    ///   - length: tokens of a window, at least 2 and at most the context
    ///   - stride: tokens from one window to the next, at most `length - 1`
    ///   - progress: receives the fraction that is done
    /// - Throws: `FastVLMError`, `CancellationError`.
    public func score(
        windowsOf text: String, length: Int, stride: Int,
        progress: (@Sendable (Double) -> Void)? = nil
    ) async throws -> TextScore {
        let limit = information.contextLength
        guard (2...max(limit, 2)).contains(length) else {
            throw FastVLMError(
                .invalidOption, "the length of a window must be between 2 and \(limit), got \(length)",
                option: "length")
        }
        guard (1..<length).contains(stride) else {
            throw FastVLMError(
                .invalidOption, "the stride must be between 1 and \(length - 1), got \(stride)",
                option: "stride")
        }
        let admission = try preparation.limits.admit(bytes: text.utf8.count)
        defer { admission.leave() }
        let ids = try await ids(of: text)
        return try await scored { [actor] cancellation in
            var scores: [TokenScore] = []
            var (start, done) = (0, 0)
            while done < ids.count {
                let end = min(start + length, ids.count)
                scores += try await actor.score(
                    Prompt(elements: [.tokens(Array(ids[start..<end]))]), images: [], from: done - start,
                    cancellation: cancellation)
                done = end
                progress?(Double(done) / Double(ids.count))
                start += stride
            }
            return scores
        }
    }

    private func ids(of text: String) async throws -> [Int] {
        guard !text.isEmpty else { throw FastVLMError(.emptyPrompt, "there is no text to score") }
        let tokenizer = preparation.tokenizer
        return try await offTaskThreads { _ in
            (tokenizer.beginningOfSequence.map { [$0] } ?? [])
                + tokenizer.encode(text, specialTokens: .asText, startsText: true)
        }
    }

    private func scored(
        _ body: @escaping @Sendable (Cancellation) async throws -> [TokenScore]
    ) async throws -> TextScore {
        let results: AsyncThrowingStream<TextScore, any Error> = abandonable { cancellation, yield in
            let scores = try await body(cancellation)
            yield(
                TextScore(
                    tokens: scores.map {
                        .init(id: $0.id, logProbability: $0.logProbability, isMostLikely: $0.isMostLikely)
                    }))
        }
        for try await score in results { return score }
        // The stream ends without it only when this task was cancelled.
        throw CancellationError()
    }
}

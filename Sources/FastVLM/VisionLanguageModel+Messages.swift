internal import Checkpoints
internal import Generation
internal import Models

extension VisionLanguageModel {
    /// The text of the answer to a conversation as it comes.
    ///
    /// ```swift
    /// for try await text in model.stream(messages: [.system("Be brief."), .user("What is this?", images: [image])]) {
    ///     print(text, terminator: "")
    /// }
    /// ```
    ///
    /// Nothing is kept between calls but what is shared anyway: a conversation that grows by two messages a call computes
    /// only what is new, as a ``ChatSession`` does.
    /// - Parameters:
    ///   - messages: perhaps the system's turn, then user and assistant in turn, user last
    ///   - options: its `system` counts where the messages do not begin with a system's turn
    /// - Returns: pieces of text, none empty; iteration throws `FastVLMError`.
    public func stream(
        messages: [Message], options: GenerationOptions = GenerationOptions()
    ) -> AsyncThrowingStream<String, any Error> {
        chat().answer(Turn(content: .messages(messages), options: options), \.text)
    }

    /// The answer to a conversation and what happens on the way to it.
    ///
    /// ```swift
    /// for try await event in model.events(messages: [.user("What is this?", images: [image])]) {
    ///     if case .finished(let answer) = event { print(answer.usage) }
    /// }
    /// ```
    /// - Parameters: as of ``stream(messages:options:)``
    /// - Returns: events, `finished` last; iteration throws `FastVLMError`.
    public func events(
        messages: [Message], options: GenerationOptions = GenerationOptions()
    ) -> AsyncThrowingStream<AnswerEvent, any Error> {
        chat().answer(Turn(content: .messages(messages), options: options)) { $0 }
    }

    /// The whole answer to a conversation at once.
    ///
    /// ```swift
    /// let answer = try await model.answer(messages: [
    ///     .user("What is this?", images: [image]), .assistant("A banana."), .user("Which colour?"),
    /// ])
    /// ```
    /// - Parameters: as of ``stream(messages:options:)``
    /// - Throws: `FastVLMError`, `CancellationError`.
    public func answer(
        messages: [Message], options: GenerationOptions = GenerationOptions()
    ) async throws -> Answer {
        try await finished(events(messages: messages, options: options))
    }

    /// How many positions a conversation takes as a prompt, images included. No image is decoded; where an image that is
    /// alone takes more positions the larger it is, as in models that cut images into tiles, its file is read.
    ///
    /// ```swift
    /// let count = try model.countTokens(messages: [.user("What is this?", images: [image])])
    /// print("\(count) of \(model.information.contextLength)")
    /// ```
    /// - Parameters: as of ``stream(messages:options:)``
    /// - Throws: `FastVLMError` with the code `invalidConversation` or `emptyPrompt`.
    public func countTokens(
        messages: [Message], options: GenerationOptions = GenerationOptions()
    ) throws -> Int {
        let counts = try imagePositions(messages, options)
        return try prompt(messages, options).length { counts[$0] }
    }

    /// The ids that a conversation becomes, to be compared with those of another program. Where an image stands, its
    /// placeholder is repeated for each of its positions: the checkpoint's image token, or -200 (as in LLaVA) where it has
    /// none.
    ///
    /// ```swift
    /// print(try model.promptIDs(messages: [.user("What is this?", images: [image])]))
    /// ```
    /// - Parameters: as of ``stream(messages:options:)``
    /// - Throws: `FastVLMError` with the code `invalidConversation` or `emptyPrompt`.
    public func promptIDs(
        messages: [Message], options: GenerationOptions = GenerationOptions()
    ) throws -> [Int] {
        let placeholder = answering.network.configuration.imageTokenID ?? -200
        let counts = try imagePositions(messages, options)
        return try prompt(messages, options).elements.flatMap { element in
            switch element {
            case .tokens(let ids): ids
            case .image(let index): Array(repeating: placeholder, count: counts[index])
            }
        }
    }

    /// Positions of every image of a conversation.
    private func imagePositions(_ messages: [Message], _ options: GenerationOptions) throws -> [Int] {
        do {
            return try preparation.positions(of: messages.flatMap(\.images), options)
        } catch {
            throw FastVLMError.translating(error)
        }
    }

    private func prompt(_ messages: [Message], _ options: GenerationOptions) throws -> Prompt {
        do {
            return try preparation.prompt(of: messages, system: options.system)
        } catch {
            throw FastVLMError.translating(error)
        }
    }
}

internal import Tensors

/// A conversation about images that keeps its keys and values between turns: a second question about the same
/// image encodes nothing and computes only its own text.
///
/// ```swift
/// let session = model.chat()
/// _ = try await session.answer("What is this?", images: [.file(url)])
/// let more = try await session.answer("What colour is it?")
/// ```
///
/// Turns asked at the same time are answered one after the other, in the order of the calls. A turn that fails leaves the
/// conversation as it was before it; so does one that is cancelled before the first token of its answer. One that is
/// cancelled later stays with what has been answered.
public final class ChatSession: Sendable {
    private let answering: Answering
    private let conversation: Conversation

    init(_ answering: Answering, history: [Message] = []) {
        self.answering = answering
        conversation = Conversation(history: history)
    }

    /// The text of the next turn's answer as it comes.
    ///
    /// ```swift
    /// for try await text in session.stream("What colour is it?") { print(text, terminator: "") }
    /// ```
    /// - Parameters:
    ///   - prompt: the question; plain text
    ///   - images: images of this turn; those of earlier turns are remembered
    ///   - options: its `system` counts on the first turn only
    /// - Returns: pieces of text, none empty; iteration throws `FastVLMError`. When the iterating task is cancelled, the
    ///   stream ends early, as `AsyncThrowingStream` does.
    public func stream(
        _ prompt: String, images: [ImageSource] = [], options: GenerationOptions = GenerationOptions()
    ) -> AsyncThrowingStream<String, any Error> {
        answer(Turn(content: .question(prompt, images: images), options: options), \.text)
    }

    /// The next turn's answer and what happens on the way to it.
    ///
    /// ```swift
    /// for try await event in session.events("What colour is it?") {
    ///     if case .finished(let answer) = event { print(answer.usage.cachedTokens) }
    /// }
    /// ```
    /// - Parameters: as of ``stream(_:images:options:)``
    /// - Returns: events, `finished` last; iteration throws `FastVLMError`.
    public func events(
        _ prompt: String, images: [ImageSource] = [], options: GenerationOptions = GenerationOptions()
    ) -> AsyncThrowingStream<AnswerEvent, any Error> {
        answer(Turn(content: .question(prompt, images: images), options: options)) { $0 }
    }

    /// The whole answer of the next turn at once.
    ///
    /// ```swift
    /// let answer = try await session.answer("What colour is it?")
    /// ```
    /// - Parameters: as of ``stream(_:images:options:)``
    /// - Throws: `FastVLMError`, `CancellationError`.
    public func answer(
        _ prompt: String, images: [ImageSource] = [], options: GenerationOptions = GenerationOptions()
    ) async throws -> Answer {
        try await finished(events(prompt, images: images, options: options))
    }

    /// The same for a question whose parts come in any order.
    ///
    /// ```swift
    /// let question = Message(.user, [.text("Is this "), .image(.file(photo)), .text(" a bird?")])
    /// for try await event in session.events(question) { print(event) }
    /// ```
    /// - Parameters:
    ///   - message: a turn of the user's
    ///   - options: as of ``stream(_:images:options:)``
    public func events(
        _ message: Message, options: GenerationOptions = GenerationOptions()
    ) -> AsyncThrowingStream<AnswerEvent, any Error> {
        answer(Turn(content: .messages([message]), options: options)) { $0 }
    }

    /// Answers turns in the order of the calls.
    /// - Parameter element: what of an event the stream has
    func answer<Element: Sendable>(
        _ turn: Turn, _ element: @escaping @Sendable (AnswerEvent) -> Element?
    ) -> AsyncThrowingStream<Element, any Error> {
        let place = conversation.line.join()
        return abandonable { [answering, conversation] cancellation, yield in
            defer { place.release() }
            @Sendable func emit(_ event: AnswerEvent) {
                if let element = element(event) { yield(element) }
            }
            emit(
                .finished(
                    try await answering.answer(
                        turn, in: conversation, place: place, cancellation: cancellation, emit: emit)))
        }
    }
}

extension AnswerEvent {
    var text: String? { if case .text(let text) = self { text } else { nil } }
}

/// The answer that a stream of events ends in.
func finished(_ events: AsyncThrowingStream<AnswerEvent, any Error>) async throws -> Answer {
    for try await event in events {
        if case .finished(let answer) = event { return answer }
    }
    // A stream ends without its answer only when the iterating task was cancelled.
    throw CancellationError()
}

/// A stream whose elements come from work that ends when nobody reads the stream any more: when the iterating task is
/// cancelled or the loop is left.
/// - Parameter work: runs in a task of its own, which is then cancelled; so is its first argument, for what computes
///   without looking at tasks. Its second takes the elements.
func abandonable<Element: Sendable>(
    _ work: @escaping @Sendable (Cancellation, @escaping @Sendable (Element) -> Void) async throws -> Void
) -> AsyncThrowingStream<Element, any Error> {
    let cancellation = Cancellation()
    let (stream, continuation) = AsyncThrowingStream.makeStream(of: Element.self)
    let task = Task {
        do {
            try await work(cancellation) { continuation.yield($0) }
            continuation.finish()
        } catch {
            continuation.finish(throwing: FastVLMError.translating(error))
        }
    }
    continuation.onTermination = { reason in
        guard case .cancelled = reason else { return }
        cancellation.cancel()
        task.cancel()
    }
    return stream
}

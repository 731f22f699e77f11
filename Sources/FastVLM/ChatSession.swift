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
    private let conversation = Conversation()

    init(_ answering: Answering) { self.answering = answering }

    /// Answers the next turn as it thinks; see ``VisionLanguageModel/stream(_:images:options:progress:)``.
    /// - Parameters:
    ///   - images: images of this turn; those of earlier turns are remembered
    ///   - options: its `system` counts on the first turn only
    ///   - progress: receives the fraction of the prefill done
    public func stream(
        _ prompt: String, images: [ImageSource] = [], options: GenerationOptions = GenerationOptions(),
        progress: @escaping @Sendable (Double) -> Void = { _ in }
    ) -> AsyncThrowingStream<AnswerPiece, any Error> {
        let turn = Turn(text: prompt, images: images, options: options)
        let place = conversation.line.join()
        return abandonable { [answering, conversation] cancellation, yield in
            defer { place.release() }
            let answer = try await answering.answer(
                turn, in: conversation, place: place, cancellation: cancellation, progress: progress,
                emit: yield)
            yield(AnswerPiece(text: "", token: nil, answer: answer))
        }
    }

    /// The whole answer of the next turn at once.
    public func answer(
        _ prompt: String, images: [ImageSource] = [], options: GenerationOptions = GenerationOptions()
    ) async throws -> Answer {
        for try await piece in stream(prompt, images: images, options: options) {
            if let answer = piece.answer { return answer }
        }
        // A stream ends without its answer only when the iterating task was cancelled.
        throw CancellationError()
    }
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

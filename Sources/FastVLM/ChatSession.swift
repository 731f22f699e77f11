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
/// Turns asked at the same time are answered one after the other. A turn that fails or is cancelled leaves the
/// conversation as it was before it.
public final class ChatSession: Sendable {
    private let actor: InferenceActor
    private let conversation: Conversation

    init(actor: InferenceActor, conversation: Conversation) {
        self.actor = actor
        self.conversation = conversation
    }

    /// Answers the next turn as it thinks; see ``VisionLanguageModel/stream(_:images:options:progress:)``.
    /// - Parameters:
    ///   - images: images of this turn; those of earlier turns are remembered
    ///   - options: its `system` counts on the first turn only
    ///   - progress: told the fraction of the prefill done
    public func stream(
        _ prompt: String, images: [ImageSource] = [], options: GenerationOptions = GenerationOptions(),
        progress: @escaping @Sendable (Double) -> Void = { _ in }
    ) -> AsyncThrowingStream<AnswerPiece, any Error> {
        let turn = Turn(text: prompt, images: images, options: options)
        let cancellation = Cancellation()
        let (stream, continuation) = AsyncThrowingStream.makeStream(of: AnswerPiece.self)
        continuation.onTermination = { reason in
            if case .cancelled = reason { cancellation.cancel() }
        }
        let actor = actor
        let conversation = conversation
        Task {
            do {
                guard !cancellation.isCancelled else { throw CancellationError() }
                let answer = try await actor.answer(
                    turn, in: conversation, cancellation: cancellation, progress: progress
                ) { continuation.yield($0) }
                continuation.yield(AnswerPiece(text: "", token: nil, answer: answer))
                continuation.finish()
            } catch {
                continuation.finish(throwing: FastVLMError.translating(error))
            }
        }
        return stream
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

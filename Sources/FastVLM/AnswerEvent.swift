/// What happens on the way to an answer.
///
/// ```swift
/// for try await event in model.events("What is this?", images: [.file(photo)]) {
///     switch event {
///     case .queued(let position): print("\(position) in the queue")
///     case .progress(let stage, let fraction): print(stage, fraction)
///     case .text(let text): print(text, terminator: "")
///     case .token(let token): print(token.id)
///     case .finished(let answer): print(answer.timings.tokensPerSecond)
///     }
/// }
/// ```
public enum AnswerEvent: Sendable, Hashable {
    /// What takes time before the first token.
    ///
    /// ```swift
    /// if case .progress(.encode, let fraction) = event { print("encoder \(Int(fraction * 100)) %") }
    /// ```
    public enum Stage: String, Sendable, Hashable, CaseIterable, Codable {
        /// The vision encoder over an image.
        case encode
        /// The decoder over the prompt.
        case prefill
    }

    /// The request waits for others (``LoadOptions/maximumRunning``); 1 is the next one that is worked on. Comes whenever
    /// that changes, upwards too where a request of a higher priority overtakes it, and not at all where nobody has to wait.
    case queued(position: Int)
    /// The fraction of a stage that is done, 0...1. Several images are encoded one after the other.
    case progress(Stage, fraction: Double)
    /// A token, as soon as it is chosen. The text that it completes follows, if it completes any.
    case token(AnswerToken)
    /// Whole characters, never empty. All of them joined are the answer.
    case text(String)
    /// The whole answer; the last event.
    case finished(Answer)
}

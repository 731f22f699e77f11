/// Why an answer ended.
///
/// ```swift
/// if answer.finishReason == .length { print("The answer was cut off.") }
/// ```
public enum FinishReason: String, Sendable, Hashable, CaseIterable, Codable {
    /// The model ended it, or a stop text or stop id came.
    case stop
    /// The token limit or the context was reached.
    case length
}

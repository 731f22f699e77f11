/// Why something that was named cannot be had.
public struct InputError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What was wrong and what to do, in one sentence.
    public let description: String

    init(_ description: String) { self.description = description }
}

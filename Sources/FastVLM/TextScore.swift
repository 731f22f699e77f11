#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// How likely a model finds a text, token by token.
///
/// ```swift
/// let score = try await model.score("The quick brown fox jumps over the lazy dog.")
/// print(score.perplexity, score.tokens.min { $0.logProbability < $1.logProbability }?.id ?? 0)
/// ```
public struct TextScore: Sendable, Hashable, Codable {
    /// A token of the text.
    ///
    /// ```swift
    /// for token in score.tokens { print(token.id, token.logProbability) }
    /// ```
    public struct Token: Sendable, Hashable, Codable {
        public let id: Int
        /// Natural logarithm of its probability after everything before it, over all rows of the output matrix, as
        /// transformers computes it.
        public let logProbability: Float
        /// Whether no other token is likelier there: a greedy answer would go on with it.
        public let isMostLikely: Bool
    }

    /// Those that are scored, in order. The first token of a text has nothing before it and is not among them, unless the
    /// tokenizer begins texts with a token of its own.
    public let tokens: [Token]

    /// Natural logarithm of the probability of all tokens together.
    ///
    /// ```swift
    /// print(yes.logProbability > no.logProbability ? "yes" : "no")
    /// ```
    public var logProbability: Double { tokens.reduce(0) { $0 + Double($1.logProbability) } }

    /// The exponential of the mean negative logarithm; 1 where everything was certain, nan without tokens.
    ///
    /// ```swift
    /// print(score.perplexity)
    /// ```
    public var perplexity: Double { exp(-logProbability / Double(tokens.count)) }
}

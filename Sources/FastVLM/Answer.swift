public import Generation

/// A generated token.
///
/// ```swift
/// options.logProbabilities = 3
/// let answer = try await model.answer("What is this?", images: [.file(url)], options: options)
/// for token in answer.tokens { print(token.id, token.logProbability ?? 0, token.alternatives) }
/// ```
public struct AnswerToken: Sendable, Hashable, Codable {
    public let id: Int
    /// Natural logarithm of its probability under the model (temperature 1); when asked for.
    public let logProbability: Float?
    /// The likeliest tokens at this place, best first; when asked for.
    public let alternatives: [Alternative]

    /// A token that was not chosen.
    ///
    /// ```swift
    /// for other in token.alternatives { print(other.id, other.logProbability) }
    /// ```
    public struct Alternative: Sendable, Hashable, Codable {
        public let id: Int
        public let logProbability: Float
    }
}

/// A finished answer.
///
/// ```swift
/// let answer = try await model.answer("What is this?", images: [.file(url)])
/// print(answer.text, answer.finishReason, answer.usage.completionTokens)
/// ```
public struct Answer: Sendable, Hashable, Codable {
    /// Why it ended: `stop` or `length`.
    ///
    /// ```swift
    /// if answer.finishReason == .length { print("The answer was cut off.") }
    /// ```
    public typealias FinishReason = Generation.FinishReason

    public let text: String
    /// Generated ids, the one that ended the answer included.
    public let tokens: [AnswerToken]
    public let finishReason: FinishReason
    public let usage: Usage
    public let timings: Timings
    /// What is worth knowing about the images beside the answer, in sentences: one whose end is missing, a colour profile
    /// that could not be used.
    public let remarks: [String]
}

/// How many positions and tokens an answer took.
///
/// ```swift
/// let usage = answer.usage
/// print("\(usage.imageTokens) of \(usage.promptTokens) positions are images, \(usage.cachedTokens) were kept")
/// ```
public struct Usage: Sendable, Hashable, Codable {
    /// Positions of this prompt that were computed, images included.
    public let promptTokens: Int
    /// Those of them that are visual tokens.
    public let imageTokens: Int
    /// Positions whose keys and values were kept, from earlier turns or from another prompt with the same beginning.
    public let cachedTokens: Int
    /// Those of them that are visual tokens.
    public let cachedImageTokens: Int
    public let completionTokens: Int
}

/// Seconds that each stage took. ``timeToFirstToken`` counts from image bytes to the first token's choice.
///
/// An image of ``LoadOptions/expectedImages`` was decoded and brought to size while the model was loading, which is not
/// counted here.
///
/// ```swift
/// let timings = answer.timings
/// print("encoder \(timings.encode) s of \(timings.timeToFirstToken) s, then \(timings.tokensPerSecond) per second")
/// ```
public struct Timings: Sendable, Hashable, Codable {
    /// Reading and decoding image files.
    public let decodeImage: Double
    /// Resizing and normalising.
    public let preprocess: Double
    /// The vision encoder.
    public let encode: Double
    /// Visual features to the decoder's width.
    public let project: Double
    /// The decoder over the prompt.
    public let prefill: Double
    public let timeToFirstToken: Double
    /// Each further token.
    public let perToken: [Double]
    /// From image bytes to the end of the answer.
    public let total: Double

    /// Decoding speed after the first token; 0 when there was only one.
    public var tokensPerSecond: Double {
        let time = perToken.reduce(0, +)
        return time > 0 ? Double(perToken.count) / time : 0
    }
}

extension Duration {
    /// The duration in seconds.
    var seconds: Double {
        let (whole, atto) = components
        return Double(whole) + Double(atto) * 1e-18
    }
}

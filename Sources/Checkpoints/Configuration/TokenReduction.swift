/// Fewer visual tokens than an image has, for an earlier first token: they are pooled, merged or chosen between the
/// projector and the decoder. What it costs in accuracy beside encoding a smaller image is in docs/analysis.md.
///
/// ```swift
/// var options = LoadOptions()
/// options.tokenReduction = TokenReduction(.merge, tokens: 64)
/// ```
public struct TokenReduction: Sendable, Hashable {
    /// How.
    public enum Method: String, Sendable, Hashable, CaseIterable {
        /// Means of neighbouring places of the image, which is 2×2 pooling for a quarter of the tokens. Only for images that
        /// are encoded as a whole, and square numbers of tokens.
        case average
        /// The most similar pairs become their mean, round by round (after token merging, Bolya et al. 2023, which does it
        /// within the encoder and looks at half of the pairs).
        case merge
        /// Tokens that differ most from each other are kept, and every other one is averaged into the one it is most like
        /// (selection as in DivPrune, Alvar et al. 2025; merging as in VisionZip, Yang et al. 2025).
        case select
    }

    public var method: Method
    /// Most visual tokens of an image that go to the decoder, at least 1. An image that has no more keeps its own.
    public var tokens: Int

    public init(_ method: Method, tokens: Int) {
        self.method = method
        self.tokens = tokens
    }

    /// Reads `average:36`, `merge:16` or `select:64`; nil for anything else.
    public init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let method = Method(rawValue: String(parts[0])), let tokens = Int(parts[1]),
            tokens > 0
        else { return nil }
        self.init(method, tokens: tokens)
    }

    /// The side of the square that ``Method/average`` makes; nil where it makes none.
    package var side: Int? {
        guard tokens > 0 else { return nil }
        let side = Int(Double(tokens).squareRoot().rounded())
        return side * side == tokens ? side : nil
    }
}

extension TokenReduction: CustomStringConvertible {
    /// `average:36`
    public var description: String { "\(method.rawValue):\(tokens)" }
}

extension TokenReduction: Codable {
    /// Reads `"average:36"`.
    /// - Throws: `DecodingError` for anything that ``init(_:)`` refuses.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let reduction = TokenReduction(text) else {
            throw DecodingError.dataCorruptedError(
                in: container,
                debugDescription: "\"\(text)\" is none of average:N, merge:N and select:N with N at least 1")
        }
        self = reduction
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

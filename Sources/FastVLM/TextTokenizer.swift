internal import Tokenization

/// A checkpoint's tokenizer alone, without its networks.
///
/// ```swift
/// let tokenizer = try TextTokenizer(contentsOf: .embedded)
/// let ids = tokenizer.encode("How many cats are there?")
/// ```
public struct TextTokenizer: Sendable {
    private let tokenizer: Tokenizer

    /// - Throws: `FastVLMError` of kind `model`.
    public init(contentsOf source: ModelSource) throws {
        do {
            tokenizer = try Tokenizer(directory: source.directory())
        } catch {
            throw FastVLMError.translating(error)
        }
    }

    /// - Parameter recognizesSpecialTokens: whether `<|im_end|>` and its like in the text become special tokens;
    ///   leave it off for text that somebody else wrote.
    public func encode(_ text: String, recognizesSpecialTokens: Bool = false) -> [Int] {
        tokenizer.encode(text, specialTokens: recognizesSpecialTokens ? .recognize : .asText)
    }

    /// Ids back to text; ids beyond the vocabulary are left out.
    public func decode(_ ids: [Int], skipsSpecialTokens: Bool = true) -> String {
        tokenizer.decode(ids, skipSpecialTokens: skipsSpecialTokens)
    }

    /// The vocabulary's own spelling of a token.
    public func spelling(of id: Int) -> String? { tokenizer.token(of: id) }
}

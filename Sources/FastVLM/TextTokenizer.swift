internal import Tokenization

/// A checkpoint's tokenizer alone, without its networks.
///
/// ```swift
/// let tokenizer = try TextTokenizer(contentsOf: .directory(URL(filePath: "FastVLM-0.5B")))
/// let ids = tokenizer.encode("How many cats are there?")
/// ```
public struct TextTokenizer: Sendable {
    private let tokenizer: Tokenizer

    init(_ tokenizer: Tokenizer) { self.tokenizer = tokenizer }

    /// Reads the tokenizer's files.
    ///
    /// ```swift
    /// let tokenizer = try TextTokenizer(contentsOf: .directory(folder))
    /// ```
    /// - Throws: `FastVLMError` of kind `model`.
    public init(contentsOf source: ModelSource) throws {
        do {
            tokenizer = try Tokenizer(directory: source.directory())
        } catch {
            throw FastVLMError.translating(error)
        }
    }

    /// Text to ids.
    ///
    /// ```swift
    /// let count = tokenizer.encode("How many?").count
    /// ```
    /// - Parameters:
    ///   - text: any text
    ///   - recognizesSpecialTokens: whether `<|im_end|>` and its like in the text become special tokens; leave it off for
    ///     text that somebody else wrote.
    public func encode(_ text: String, recognizesSpecialTokens: Bool = false) -> [Int] {
        tokenizer.encode(text, specialTokens: recognizesSpecialTokens ? .recognize : .asText)
    }

    /// Ids back to text; ids beyond the vocabulary are left out.
    ///
    /// ```swift
    /// let text = tokenizer.decode([2121, 374])
    /// ```
    public func decode(_ ids: [Int], skipsSpecialTokens: Bool = true) -> String {
        tokenizer.decode(ids, skipSpecialTokens: skipsSpecialTokens)
    }

    /// The bytes that a token adds to a text: perhaps a part of a character only, which ``decode(_:skipsSpecialTokens:)``
    /// of that token alone would replace. nil for an id that the vocabulary does not have.
    ///
    /// ```swift
    /// let bytes = answer.tokens.flatMap { model.tokenizer.bytes(of: $0.id) ?? [] }
    /// ```
    public func bytes(of id: Int) -> [UInt8]? { tokenizer.bytes(of: id) }

    /// The vocabulary's own spelling of a token; nil for an id that it does not have.
    ///
    /// ```swift
    /// let spelling = tokenizer.spelling(of: 2121)
    /// ```
    public func spelling(of id: Int) -> String? { tokenizer.token(of: id) }
}

/// Turns generated ids into text piece by piece. A piece never holds a broken character: bytes wait until the
/// character they begin is complete or cannot become complete any more. All pieces together equal
/// `Tokenizer.decode` of all ids.
package struct StreamingDetokenizer: Sendable {
    private let tokenizer: Tokenizer
    private let skipsSpecialTokens: Bool
    private var text: TextAssembler

    package init(_ tokenizer: Tokenizer, skipSpecialTokens: Bool = true) {
        self.tokenizer = tokenizer
        skipsSpecialTokens = skipSpecialTokens
        text = TextAssembler(tokenizer.decoder)
    }

    /// - Returns: the text that is certain now and was not before; often empty within a character of several
    ///   tokens.
    package mutating func append(_ id: Int) -> String {
        guard let token = tokenizer.content(of: id, skipSpecialTokens: skipsSpecialTokens) else { return "" }
        text.append(token)
        return text.takeComplete()
    }

    /// - Returns: what was still waiting, unfinished bytes as U+FFFD. The detokeniser can be used for a new
    ///   text afterwards.
    package mutating func finish() -> String {
        text.finish()
        let rest = text.take()
        text = TextAssembler(tokenizer.decoder)
        return rest
    }
}

internal import Tokenization

/// Token ids to the characters that a reader may see: whole ones, without stop strings.
struct AnswerText {
    struct Token {
        var id: Int
        var probability: TokenProbability?
        var alternatives: [TokenProbability] = []
    }

    private var detokenizer: StreamingDetokenizer
    private var matcher: StopMatcher

    init(_ tokenizer: Tokenizer, stops: [String]) throws(GenerationError) {
        detokenizer = StreamingDetokenizer(tokenizer)
        matcher = try StopMatcher(stops)
    }

    mutating func append(_ token: Token) -> (piece: GeneratedPiece, stopped: Bool) {
        let (text, stopped) = matcher.append(detokenizer.append(token.id))
        let piece = GeneratedPiece(
            text: text, id: token.id, probability: token.probability, alternatives: token.alternatives)
        return (piece, stopped)
    }

    mutating func finish() -> GeneratedPiece? {
        let (text, stopped) = matcher.append(detokenizer.finish())
        let rest = stopped ? text : text + matcher.finish()
        return rest.isEmpty ? nil : GeneratedPiece(text: rest)
    }
}

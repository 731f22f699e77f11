/// What the files of a tokenizer say, checked for form but not yet built into tables.
struct TokenizerDefinition {
    /// How text becomes words for the byte-pair encoding.
    enum PreTokenizer: Equatable {
        /// Byte-level: split by a pattern, then one symbol per byte. `addsPrefixSpace`: a space is put before
        /// text that does not start with one.
        case byteLevel(SplitPattern, addsPrefixSpace: Bool)
        /// SentencePiece: one symbol per scalar, the whole text one word.
        case wholeText
        /// SentencePiece: spaces become `replacement`, one is put before the text.
        case metaspace(replacement: String, prefix: MetaspacePrefix, splits: Bool)
    }

    enum MetaspacePrefix: String, CaseIterable { case always, first, never }

    /// A step before splitting.
    enum Normalizer: Equatable {
        case nfc
        case prepend(String)
        case replace(String, with: String)
    }

    enum Decoder: Equatable {
        case byteLevel
        /// `replacement` becomes a space, byte tokens become bytes, `stripped` spaces at the start go.
        case sentencePiece(replacement: String, stripped: Int)
    }

    /// For errors about vocabulary and merges.
    var vocabularyFile: String
    var mergesFile: String
    var vocabulary: [(token: String, id: Int)]
    var merges: [(left: String, right: String)]
    var addedTokens: [AddedToken] = []
    var normalizers: [Normalizer] = []
    var preTokenizer: PreTokenizer
    var decoder: Decoder
    var unknownToken: String?
    var fusesUnknown = false
    var fallsBackToBytes = false
    var ignoresMerges = false
    /// Content of the token put before every text.
    var beginningOfSequence: String?
}

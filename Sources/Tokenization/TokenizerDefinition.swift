/// What the files of a tokenizer say, checked for form but not yet built into tables.
struct TokenizerDefinition {
    /// How text becomes words for the byte-pair encoding.
    enum PreTokenizer: Equatable {
        /// Byte-level: cut by each stage in turn, then one symbol per byte.
        case byteLevel([SplitStage])
        /// SentencePiece: one symbol per scalar, the whole text one word.
        case wholeText
        /// SentencePiece: spaces become `replacement`, one is put before the text.
        case metaspace(replacement: String, prefix: MetaspacePrefix, splits: Bool)
    }

    /// A step that cuts, or changes, the pieces that the one before it made.
    enum SplitStage: Equatable {
        case pattern(SplitPattern)
        /// Numbers apart from the rest, each by itself or in runs.
        case digits(individually: Bool)
        /// A space before pieces that do not start with one.
        case prefixSpace
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
    /// Which of the merges goes first, lowest rank first; empty where that is their order. Of equal ranks the leftmost
    /// goes first.
    var mergeRanks: [Int] = []
    /// Pieces of the vocabulary that are found in a text before anything is merged, and stay as they are.
    var wholePieces: [String] = []
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
    /// Whether the vocabulary is a SentencePiece model of its own.
    var isSentencePieceModel = false
    /// Special tokens that files name without an id, each with the place that names it.
    var namedTokens: [(token: AddedToken, place: String)] = []
    /// What changes how text is encoded and no error reports, for the user.
    var remarks: [String] = []
}

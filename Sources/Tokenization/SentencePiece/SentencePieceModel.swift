/// What a SentencePiece model (`tokenizer.model`) says: its pieces and how text is prepared for them.
///
/// The file is a protobuf message, `ModelProto` of sentencepiece_model.proto. Fields that change nothing about encoding
/// are passed over, as protobuf wants it.
struct SentencePieceModel {
    enum PieceKind: Int {
        case normal = 1
        case unknown = 2
        /// Never in a text: `<s>`.
        case control = 3
        /// Found in a text before anything is joined.
        case userDefined = 4
        case unused = 5
        /// `<0x0A>`.
        case byte = 6
    }

    struct Piece {
        var text: String
        var score: Float
        var kind: PieceKind
    }

    /// The algorithms, by their number in the file.
    enum Algorithm: Int {
        case unigram = 1
        case bytePairs = 2
        case words = 3
        case characters = 4

        var name: String {
            switch self {
            case .unigram: "unigram"
            case .bytePairs: "BPE"
            case .words: "word"
            case .characters: "char"
            }
        }
    }

    /// By id.
    private(set) var pieces: [Piece] = []
    private(set) var algorithm = Algorithm.unigram
    private(set) var fallsBackToBytes = false
    private(set) var treatsSpaceAsSuffix = false
    /// The id of `<s>`; negative for none.
    private(set) var beginID = 1
    private(set) var normalizerName = ""
    private(set) var hasCharacterMap = false
    private(set) var addsDummyPrefix = true
    private(set) var removesExtraSpaces = true
    private(set) var escapesSpaces = true

    /// The largest published model has 5 MB, its longest piece 93 bytes.
    static let fileLimit = 32 << 20
    static let pieceLimit = 256

    /// - Parameter bytes: of the whole file, at most ``fileLimit``
    init(_ bytes: UnsafeRawBufferPointer) throws(ProtobufReader.Failure) {
        var reader = ProtobufReader(bytes)
        while let field = try reader.next() {
            switch field.number {
            case 1:
                guard pieces.count < TokenizerLimits.ids else {
                    throw .init(offset: field.offset, reason: "more than \(TokenizerLimits.ids) pieces")
                }
                pieces.append(try Self.piece(bytes, field))
            case 2: try readTrainer(ProtobufReader(bytes, range: field.range()))
            case 3: try readNormalizer(ProtobufReader(bytes, range: field.range()))
            default: continue
            }
        }
    }

    private static func piece(
        _ bytes: UnsafeRawBufferPointer, _ field: ProtobufReader.Field
    ) throws(ProtobufReader.Failure) -> Piece {
        func invalid(_ reason: String) -> ProtobufReader.Failure {
            .init(offset: field.offset, reason: reason)
        }
        var piece = Piece(text: "", score: 0, kind: .normal)
        var reader = ProtobufReader(bytes, range: try field.range())
        while let field = try reader.next() {
            switch field.number {
            case 1:
                let range = try field.range()
                guard range.count <= pieceLimit else {
                    throw invalid("a piece of \(range.count) bytes, at most \(pieceLimit) are expected")
                }
                guard let text = String(validating: bytes[range], as: UTF8.self) else {
                    throw invalid("a piece is not UTF-8 text")
                }
                piece.text = text
            case 2: piece.score = try field.float()
            case 3:
                let number = try field.integer()
                guard let kind = PieceKind(rawValue: number) else {
                    throw invalid("a piece of the unknown kind \(number)")
                }
                piece.kind = kind
            default: continue
            }
        }
        guard !piece.text.isEmpty else { throw invalid("an empty piece") }
        guard piece.score.isFinite else { throw invalid("the score of \(quoted(piece.text)) is no number") }
        return piece
    }

    private mutating func readTrainer(_ reader: ProtobufReader) throws(ProtobufReader.Failure) {
        var reader = reader
        while let field = try reader.next() {
            switch field.number {
            case 3:
                let number = try field.integer()
                guard let known = Algorithm(rawValue: number) else {
                    throw .init(offset: field.offset, reason: "the unknown model_type \(number)")
                }
                algorithm = known
            case 24: treatsSpaceAsSuffix = try field.bool()
            case 35: fallsBackToBytes = try field.bool()
            case 41: beginID = try field.integer()
            default: continue
            }
        }
    }

    private mutating func readNormalizer(_ reader: ProtobufReader) throws(ProtobufReader.Failure) {
        var reader = reader
        while let field = try reader.next() {
            switch field.number {
            case 1: normalizerName = try field.text(reader)
            case 2: hasCharacterMap = try !field.range().isEmpty
            case 3: addsDummyPrefix = try field.bool()
            case 4: removesExtraSpaces = try field.bool()
            case 5: escapesSpaces = try field.bool()
            default: continue
            }
        }
    }
}

import CheckpointFiles

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Reading of tokenizer.model where there is no tokenizer.json: byte pairs of SentencePiece, as Llama and Vicuna have them.
extension TokenizerDefinition {
    private static let space = "▁"

    /// - Throws: `TokenizationError.invalidModel` for what is no such file, `.unsupported` for models of another kind.
    init(sentencePieceIn folder: TokenizerFolder) throws(TokenizationError) {
        let url = folder.url.appending(path: "tokenizer.model")
        let data = try Self.contents(url, expected: .text)
        guard data.count <= SentencePieceModel.fileLimit else {
            throw .overLimit(
                file: url.path, what: "the size in bytes", limit: SentencePieceModel.fileLimit,
                got: "\(data.count)")
        }
        // `Data` passes on untyped errors only; a result keeps the type.
        let read = data.withUnsafeBytes { bytes in
            Result { () throws(ProtobufReader.Failure) in try SentencePieceModel(bytes) }
        }
        switch read {
        case .success(let model):
            try self.init(model, file: url.path, configuration: folder.fields("tokenizer_config.json"))
        case .failure(let failure):
            throw .invalidModel(file: url.path, offset: failure.offset, reason: failure.reason)
        }
    }

    private init(
        _ model: SentencePieceModel, file: String, configuration: JSONFields?
    ) throws(TokenizationError) {
        try Self.refuseUnsupported(model, file: file)
        vocabularyFile = file
        mergesFile = file
        isSentencePieceModel = true
        vocabulary = model.pieces.enumerated().map { (token: $1.text, id: $0) }
        let rules = try MergeRules(model.pieces, file: file)
        (merges, mergeRanks, remarks) = (rules.merges, rules.ranks, rules.remarks)
        addedTokens = model.pieces.enumerated().filter { [.control, .unknown].contains($1.kind) }
            .map { AddedToken(content: $1.text, id: $0, isSpecial: true) }
        wholePieces = model.pieces.filter { $0.kind == .userDefined }.map(\.text)
        unknownToken = model.pieces.first { $0.kind == .unknown }?.text
        // A run of what the vocabulary lacks is one unknown token.
        fusesUnknown = true
        fallsBackToBytes = model.fallsBackToBytes
        decoder = .sentencePiece(replacement: Self.space, stripped: model.addsDummyPrefix ? 1 : 0)
        // transformers: without `legacy`, a stretch of text after a special token has no dummy prefix.
        if model.addsDummyPrefix, try configuration?.bool("legacy", default: true) == false {
            preTokenizer = .metaspace(replacement: Self.space, prefix: .first, splits: false)
        } else {
            preTokenizer = .wholeText
            normalizers =
                (model.addsDummyPrefix ? [.prepend(Self.space)] : []) + [.replace(" ", with: Self.space)]
        }
        if try configuration?.bool("add_bos_token", default: true) ?? true, model.beginID >= 0 {
            guard model.pieces.indices.contains(model.beginID) else {
                throw .wrongValue(
                    file: file, key: "bos_id", expected: "the id of a piece, or negative",
                    got: "\(model.beginID)")
            }
            beginningOfSequence = model.pieces[model.beginID].text
        }
        if try configuration?.bool("add_eos_token", default: false) == true, let configuration {
            throw configuration.unsupported("add_eos_token", got: "true", supported: "false")
        }
    }

    private static func refuseUnsupported(
        _ model: SentencePieceModel, file: String
    ) throws(TokenizationError) {
        func unsupported(_ key: String, _ got: String, _ supported: String) -> TokenizationError {
            .unsupported(file: file, key: key, got: got, supported: supported)
        }
        guard model.algorithm == .bytePairs else {
            throw unsupported("model_type", "\(model.algorithm.name)", "BPE (byte pairs)")
        }
        if model.hasCharacterMap {
            throw unsupported("the normaliser", quoted(model.normalizerName), "identity")
        }
        if model.removesExtraSpaces { throw unsupported("remove_extra_whitespaces", "true", "false") }
        if !model.escapesSpaces { throw unsupported("escape_whitespaces", "false", "true") }
        if model.treatsSpaceAsSuffix { throw unsupported("treat_whitespace_as_suffix", "true", "false") }
        if let piece = model.pieces.first(where: { $0.kind == .unused }) {
            throw unsupported("the kind of \(quoted(piece.text))", "UNUSED", "all others")
        }
        let unknown = model.pieces.filter { $0.kind == .unknown }.count
        guard unknown == 1 else {
            throw .wrongValue(
                file: file, key: "the pieces", expected: "one of the kind UNKNOWN", got: "\(unknown)")
        }
        let bytes = Set(model.pieces.filter { $0.kind == .byte }.map(\.text))
        let expected = model.fallsBackToBytes ? 256 : 0
        guard bytes.count == expected, bytes.allSatisfy({ ByteFallback.byte(of: Array($0.utf8)) != nil })
        else {
            throw .wrongValue(
                file: file, key: "the pieces", expected: "\(expected) of the kind BYTE, <0x00> to <0xFF>",
                got: "\(bytes.count)")
        }
    }
}

/// The pairs that SentencePiece joins: any two symbols that make a piece, the one of the highest score first.
private struct MergeRules {
    private(set) var merges: [(left: String, right: String)] = []
    /// Pairs that make pieces of one score have one rank.
    private(set) var ranks: [Int] = []
    private(set) var remarks: [String] = []

    init(_ pieces: [SentencePieceModel.Piece], file: String) throws(TokenizationError) {
        let normal = pieces.filter { $0.kind == .normal }.sorted { $0.score > $1.score }
        let known = Set(normal.lazy.map { Array($0.text.utf8) })
        var rank = -1
        var score = Float.infinity
        var unreachable: [String] = []
        for piece in normal {
            if piece.score < score { (rank, score) = (rank + 1, piece.score) }
            let scalars = piece.text.unicodeScalars
            guard scalars.count > 1 else { continue }
            var index = scalars.index(after: scalars.startIndex)
            while index < scalars.endIndex {
                let (left, right) = (String(scalars[..<index]), String(scalars[index...]))
                if known.contains(Array(left.utf8)), known.contains(Array(right.utf8)) {
                    merges.append((left, right))
                    ranks.append(rank)
                }
                index = scalars.index(after: index)
            }
            try TokenizerDefinition.checkMergeCount(merges.count, file: file)
            // SentencePiece joins a character that is no piece as well, `tokenizers` does not.
            if scalars.contains(where: { !known.contains(Array(String($0).utf8)) }) {
                unreachable.append(piece.text)
            }
        }
        if let first = unreachable.first {
            remarks.append(
                "\(file): \(unreachable.count) pieces such as \(quoted(first)) have a character that is no piece; "
                    + "they are not made from text, as in tokenizers")
        }
    }
}

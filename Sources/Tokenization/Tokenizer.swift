#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// Whether special tokens written out in a text become special tokens.
package enum SpecialTokenPolicy: Sendable {
    /// `<|im_end|>` in the text becomes its one id: for prompts the program itself writes.
    case recognize
    /// Every added token is ordinary text: for text from outside, which must not be able to end its own turn.
    /// Unlike `encode_special_tokens` of `tokenizers` this also holds for added tokens that are not marked
    /// special.
    case asText
}

/// Text ⇄ token ids, equal to Hugging Face `tokenizers` (without its post-processor: `encode` adds no token).
///
/// Byte-level BPE (Qwen2, Llama 3, GPT-2) and SentencePiece-style BPE (Llama 2, Vicuna), the latter from tokenizer.json or
/// from SentencePiece's own tokenizer.model. Immutable after loading.
///
/// ```swift
/// let tokenizer = try Tokenizer(directory: checkpoint)
/// let ids = tokenizer.encode("<|im_start|>user\nHello<|im_end|>\n")
/// let text = tokenizer.decode(ids)   // "user\nHello\n"
/// ```
package struct Tokenizer: Sendable {
    let vocabulary: TokenTable
    let merger: BytePairMerger
    /// Initial symbol of each byte: byte-level tokens, or the `<0xNN>` tokens of byte fallback; -1 when
    /// missing.
    let byteSymbols: [Int32]
    let normalizer: TextNormalizer
    let preTokenizer: TokenizerDefinition.PreTokenizer
    let decoder: TokenizerDefinition.Decoder
    let unknown: Int32?
    let fusesUnknown: Bool
    let ignoresMerges: Bool
    /// Added tokens by id.
    let added: [Int: AddedToken]
    /// Added tokens looked for before, and after, normalisation.
    let rawMatcher: AddedTokenMatcher
    let normalizedMatcher: AddedTokenMatcher
    /// Pieces that are looked for in normalised text whoever wrote it: none of them is an added token.
    let wholePieceMatcher: AddedTokenMatcher
    /// Highest id + 1, added tokens included. Rows of an embedding beyond it are padding.
    package let vocabularyCount: Int
    /// The highest id that ordinary text can lead to, + 1: added tokens never do, unless the vocabulary has them too.
    package let textVocabularyCount: Int
    /// The token to put before a text, when the tokenizer asks for one (Llama). `encode` does not put it.
    package let beginningOfSequence: Int?
    /// Whether it was read from a tokenizer.model, as the original programs of LLaVA read it.
    package let isSentencePieceModel: Bool
    /// What changes how text is encoded and no error reports, in sentences for the user.
    package let remarks: [String]
    private let addedIDs: [[UInt8]: Int]

    /// Reads tokenizer.json, or vocab.json and merges.txt, or tokenizer.model, with added_tokens.json and
    /// tokenizer_config.json, from a checkpoint folder.
    ///
    /// - Throws: `TokenizationError` that names the file and what is wrong with it.
    package init(directory: URL) throws(TokenizationError) {
        try self.init(TokenizerDefinition(directory: directory))
    }

    init(_ definition: TokenizerDefinition) throws(TokenizationError) {
        let file = definition.vocabularyFile
        let table = try Self.table(definition.vocabulary, file: file)
        vocabulary = table
        merger = try Self.merger(definition, table)
        byteSymbols = try Self.byteSymbols(definition, table)
        var remarks = definition.remarks + Self.remarks(byteSymbols, definition)
        let addedTokens = definition.addedTokens + Self.found(definition, table, &remarks)
        self.remarks = remarks
        normalizer = TextNormalizer(definition.normalizers)
        preTokenizer = definition.preTokenizer
        decoder = definition.decoder
        fusesUnknown = definition.fusesUnknown
        ignoresMerges = definition.ignoresMerges
        isSentencePieceModel = definition.isSentencePieceModel
        if let token = definition.unknownToken, !token.isEmpty {
            guard let id = table.id(of: token) else {
                throw .wrongValue(
                    file: file, key: "unk_token", expected: "a token of the vocabulary", got: quoted(token))
            }
            unknown = Int32(truncatingIfNeeded: id)
        } else {
            unknown = nil
        }
        let normalizer = normalizer
        (added, addedIDs) = try Self.index(addedTokens, table, normalizer, file: file)
        vocabularyCount = max(table.idCount, (added.keys.max() ?? -1) + 1)
        textVocabularyCount = table.idCount
        if let token = definition.beginningOfSequence {
            guard let id = addedIDs[Array(token.utf8)] ?? table.id(of: token) else {
                throw .wrongValue(
                    file: file, key: "post_processor", expected: "tokens of the vocabulary",
                    got: quoted(token))
            }
            beginningOfSequence = id
        } else {
            beginningOfSequence = nil
        }
        rawMatcher = AddedTokenMatcher(
            addedTokens.filter { !$0.isNormalized }.map { ($0, Array($0.content.utf8)) })
        normalizedMatcher = AddedTokenMatcher(
            addedTokens.filter(\.isNormalized).map { ($0, normalizer.normalized($0.content)) })
        let addedIDs = addedIDs
        wholePieceMatcher = AddedTokenMatcher(
            definition.wholePieces.compactMap { piece in
                let bytes = Array(piece.utf8)
                guard addedIDs[bytes] == nil, let id = table.id(of: bytes) else { return nil }
                return (AddedToken(content: piece, id: id, isSpecial: false), bytes)
            })
    }

    // MARK: - Building

    private static func table(
        _ entries: [(token: String, id: Int)], file: String
    ) throws(TokenizationError) -> TokenTable {
        let idCount = (entries.lazy.map(\.id).max() ?? -1) + 1
        var table = TokenTable(capacity: entries.count, idCount: idCount)
        for (token, id) in entries where !table.insert(token, id: id) {
            throw .conflict(
                file: file, token: quoted(token), ids: [id] + [table.id(of: token)].compactMap { $0 })
        }
        return table
    }

    private static func merger(
        _ definition: TokenizerDefinition, _ table: TokenTable
    ) throws(TokenizationError) -> BytePairMerger {
        var merger = BytePairMerger(capacity: definition.merges.count)
        var merged: [UInt8] = []
        for (place, (left, right)) in definition.merges.enumerated() {
            let rank = definition.mergeRanks.isEmpty ? place : definition.mergeRanks[place]
            merged.removeAll(keepingCapacity: true)
            merged.append(contentsOf: left.utf8)
            merged.append(contentsOf: right.utf8)
            guard let leftID = table.id(of: left), let rightID = table.id(of: right),
                let mergedID = table.id(of: merged)
            else {
                let missing =
                    table.id(of: left) == nil
                    ? left
                    : table.id(of: right) == nil ? right : String(decoding: merged, as: UTF8.self)
                throw .unknownMergePart(file: definition.mergesFile, merge: place, token: quoted(missing))
            }
            if let first = merger.add(left: leftID, right: rightID, rank: rank, merged: mergedID) {
                throw .duplicateMerge(
                    file: definition.mergesFile, merge: place, first: first,
                    pair: "\(quoted(left)) and \(quoted(right))")
            }
        }
        return merger
    }

    private static func byteSymbols(
        _ definition: TokenizerDefinition, _ table: TokenTable
    ) throws(TokenizationError) -> [Int32] {
        var symbols = [Int32](repeating: -1, count: 256)
        switch definition.preTokenizer {
        case .byteLevel:
            for (byte, token) in ByteAlphabet.encoded.enumerated() {
                guard let id = table.id(of: token) else { continue }
                symbols[byte] = Int32(truncatingIfNeeded: id)
            }
            guard symbols.contains(where: { $0 >= 0 }) else {
                throw .noBytes(file: definition.vocabularyFile)
            }
        case .wholeText, .metaspace:
            guard definition.fallsBackToBytes else { break }
            for byte in 0..<256 {
                guard let id = table.id(of: ByteFallback.token(of: UInt8(byte))) else { continue }
                symbols[byte] = Int32(truncatingIfNeeded: id)
            }
        }
        return symbols
    }

    /// Bytes that a text may hold (these occur in UTF-8) and that a byte-level vocabulary cannot write.
    private static func remarks(_ symbols: [Int32], _ definition: TokenizerDefinition) -> [String] {
        guard case .byteLevel = definition.preTokenizer else { return [] }
        let missing = (0..<256).filter { symbols[$0] < 0 && $0 != 0xC0 && $0 != 0xC1 && $0 < 0xF5 }
        guard !missing.isEmpty else { return [] }
        let bytes = missing.prefix(8).map { String($0, radix: 16, uppercase: true) }.joined(separator: ", ")
        let fate = definition.unknownToken.map { "become \(quoted($0))" } ?? "are left out of a text"
        return [
            "\(definition.vocabularyFile): the vocabulary lacks \(missing.count) of the bytes of UTF-8 "
                + "(\(bytes)\(missing.count > 8 ? ", …" : "") in hexadecimal); they \(fate), as in tokenizers"
        ]
    }

    /// The named special tokens that the vocabulary has. One that ordinary text can spell, such as "!" named for
    /// padding, stays a part of text.
    private static func found(
        _ definition: TokenizerDefinition, _ table: TokenTable, _ remarks: inout [String]
    ) -> [AddedToken] {
        var result: [AddedToken] = []
        for (token, place) in definition.namedTokens {
            guard let id = table.id(of: token.content) else {
                remarks.append(
                    "\(place) is \(quoted(token.content)), to which no file gives an id; it is left out")
                continue
            }
            let bytes = Array(token.content.utf8)
            let isOrdinary =
                token.content.unicodeScalars.count == 1
                || definition.merges.contains { left, right in
                    left.utf8.count + right.utf8.count == bytes.count && bytes.starts(with: left.utf8)
                        && bytes.dropFirst(left.utf8.count).elementsEqual(right.utf8)
                }
            if isOrdinary {
                remarks.append(
                    "\(place) is \(quoted(token.content)), which ordinary text can hold; it is treated as text"
                )
            } else {
                result.append(token)
                result[result.count - 1].id = id
            }
        }
        return result
    }

    /// Added tokens by id and by content; each must agree with the vocabulary where that knows it too. As in
    /// `tokenizers`, the token of an id is the normalised content, the content as written leads to the id.
    private static func index(
        _ tokens: [AddedToken], _ table: TokenTable, _ normalizer: TextNormalizer, file: String
    ) throws(TokenizationError) -> (byID: [Int: AddedToken], byContent: [[UInt8]: Int]) {
        var byID: [Int: AddedToken] = [:]
        var byContent: [[UInt8]: Int] = [:]
        for token in tokens {
            let content = Array(token.content.utf8)
            let known = table.id(of: content) ?? byContent[content] ?? token.id
            let isTaken = table.bytes(of: token.id).map { Array($0) != content } ?? (byID[token.id] != nil)
            guard known == token.id, !isTaken || byContent[content] == token.id else {
                throw .conflict(file: file, token: quoted(token.content), ids: [token.id, known])
            }
            byContent[content] = token.id
            byID[token.id] = token
            if token.isNormalized {
                byID[token.id]?.content = String(
                    decoding: normalizer.normalized(token.content), as: UTF8.self)
            }
        }
        return (byID, byContent)
    }

    // MARK: - Single tokens

    /// The id of an added token by its content, or of a vocabulary entry as the files write it ("Ġhello").
    package func id(of token: String) -> Int? {
        addedIDs[Array(token.utf8)] ?? vocabulary.id(of: token)
    }

    /// The token with this id as the files write it; nil beyond the vocabulary and in its gaps.
    package func token(of id: Int) -> String? {
        added[id]?.content ?? vocabulary.bytes(of: id).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Added tokens from an id on, by id.
    package func addedTokens(from first: Int) -> [(id: Int, content: String)] {
        added.filter { $0.key >= first }.sorted { $0.key < $1.key }.map { ($0.key, $0.value.content) }
    }

    /// Whether this is an added token marked special, which `decode` leaves out unless told otherwise.
    package func isSpecial(_ id: Int) -> Bool { added[id]?.isSpecial ?? false }
}

extension Tokenizer {
    /// Token ids of a text, in time near-linear in its length.
    ///
    /// - Parameters:
    ///   - text: any text; unpaired surrogates cannot occur in a Swift string.
    ///   - specialTokens: whether tokens such as `<|im_end|>`, written out in the text, are recognised.
    ///   - startsText: whether nothing stands before it in the text that it is a part of. Tokenizers with
    ///     `prepend_scheme` `first` treat the beginning of the whole text otherwise than the rest.
    /// - Returns: ids below `vocabularyCount`. No token is added before or after, see `beginningOfSequence`.
    package func encode(
        _ text: String, specialTokens: SpecialTokenPolicy = .recognize, startsText: Bool = true
    ) -> [Int] {
        var text = text
        return text.withUTF8 { bytes in
            var run = EncodingRun(tokenizer: self, recognizes: specialTokens == .recognize)
            run.encode(bytes, startsText: startsText)
            return run.ids
        }
    }
}

/// The state of one call of `encode`.
private struct EncodingRun {
    let tokenizer: Tokenizer
    let recognizes: Bool
    var ids: [Int] = []
    private var scratch = BytePairMerger.Scratch()

    init(tokenizer: Tokenizer, recognizes: Bool) {
        self.tokenizer = tokenizer
        self.recognizes = recognizes
    }

    /// Cuts the text at added tokens, as it stands.
    mutating func encode(_ bytes: UnsafeBufferPointer<UInt8>, startsText: Bool) {
        guard recognizes, !tokenizer.rawMatcher.isEmpty else {
            return normalizeAndEncode(bytes, isStart: startsText)
        }
        tokenizer.rawMatcher.forEachSegment(in: bytes) { segment in
            switch segment {
            case .token(let id): ids.append(id)
            case .text(let range):
                normalizeAndEncode(
                    UnsafeBufferPointer(rebasing: bytes[range]),
                    isStart: startsText && range.lowerBound == 0)
            }
        }
    }

    private mutating func normalizeAndEncode(_ bytes: UnsafeBufferPointer<UInt8>, isStart: Bool) {
        if let normalized = tokenizer.normalizer.normalized(bytes) {
            normalized.withUnsafeBufferPointer { encodeNormalized($0, isStart: isStart) }
        } else {
            encodeNormalized(bytes, isStart: isStart)
        }
    }

    /// Cuts normalised text at the added tokens that are looked for there.
    private mutating func encodeNormalized(_ bytes: UnsafeBufferPointer<UInt8>, isStart: Bool) {
        guard recognizes, !tokenizer.normalizedMatcher.isEmpty else {
            return encodeText(bytes, isStart: isStart)
        }
        tokenizer.normalizedMatcher.forEachSegment(in: bytes) { segment in
            switch segment {
            case .token(let id): ids.append(id)
            case .text(let range):
                let text = UnsafeBufferPointer(rebasing: bytes[range])
                encodeText(text, isStart: isStart && range.lowerBound == 0)
            }
        }
    }

    private mutating func encodeText(_ bytes: UnsafeBufferPointer<UInt8>, isStart: Bool) {
        guard !bytes.isEmpty else { return }
        switch tokenizer.preTokenizer {
        case .byteLevel(let stages): split(bytes, stages[...])
        case .wholeText: encodePieces(bytes)
        case .metaspace(let replacement, let prefix, let splits):
            let mark = Array(replacement.utf8)
            var text = TextNormalizer.replace([0x20], with: mark, in: bytes) ?? Array(bytes)
            let wantsPrefix = prefix == .always || (prefix == .first && isStart)
            if wantsPrefix, !text.starts(with: mark) { text.insert(contentsOf: mark, at: 0) }
            text.withUnsafeBufferPointer { text in
                guard splits else { return encodePieces(text) }
                for piece in Self.pieces(text, before: mark) {
                    encodePieces(UnsafeBufferPointer(rebasing: text[piece]))
                }
            }
        }
    }

    /// Ranges of a text cut before each occurrence of `mark`.
    private static func pieces(_ text: UnsafeBufferPointer<UInt8>, before mark: [UInt8]) -> [Range<Int>] {
        var result: [Range<Int>] = []
        var start = 0
        for position in 1..<max(text.count, 1)
        where text[position] == mark[0] && text[position...].starts(with: mark) {
            result.append(start..<position)
            start = position
        }
        result.append(start..<text.count)
        return result
    }

    // MARK: - Words

    /// Cuts a piece, not empty, by the stages left and encodes the words that come out.
    private mutating func split(
        _ bytes: UnsafeBufferPointer<UInt8>, _ stages: ArraySlice<TokenizerDefinition.SplitStage>
    ) {
        guard let stage = stages.first else { return encodeByteLevel(bytes) }
        let rest = stages.dropFirst()
        switch stage {
        case .pattern(let pattern):
            var scanner = SplitScanner(bytes, pattern: pattern, properties: .shared)
            while let word = scanner.next() { split(UnsafeBufferPointer(rebasing: bytes[word]), rest) }
        case .digits(let individually):
            var start = 0
            while start < bytes.count {
                let end = Self.endOfDigits(bytes, from: start, individually: individually)
                split(UnsafeBufferPointer(rebasing: bytes[start..<end]), rest)
                start = end
            }
        case .prefixSpace:
            guard bytes[0] != 0x20 else { return split(bytes, rest) }
            let prefixed = [0x20] + bytes
            prefixed.withUnsafeBufferPointer { split($0, rest) }
        }
    }

    /// The end of the run of numbers, or of other scalars, that begins at `start`.
    private static func endOfDigits(
        _ bytes: UnsafeBufferPointer<UInt8>, from start: Int, individually: Bool
    ) -> Int {
        let first = DecodedScalar(bytes, at: start)
        let isNumber = ScalarProperties.shared.isNumeric(first.value)
        var end = start + first.length
        if isNumber, individually { return end }
        while end < bytes.count {
            let next = DecodedScalar(bytes, at: end)
            guard ScalarProperties.shared.isNumeric(next.value) == isNumber else { break }
            end += next.length
        }
        return end
    }

    private mutating func encodeByteLevel(_ word: UnsafeBufferPointer<UInt8>) {
        if tokenizer.ignoresMerges, let id = wholeWord(word) {
            ids.append(id)
            return
        }
        scratch.symbols.removeAll(keepingCapacity: true)
        var hasPendingUnknown = false
        for byte in word {
            let symbol = tokenizer.byteSymbols[Int(byte)]
            if symbol >= 0 {
                if hasPendingUnknown { appendUnknown() }
                hasPendingUnknown = false
                scratch.symbols.append(symbol)
            } else {
                if hasPendingUnknown, !tokenizer.fusesUnknown { appendUnknown() }
                hasPendingUnknown = true
            }
        }
        if hasPendingUnknown { appendUnknown() }
        tokenizer.merger.merge(&scratch, into: &ids)
    }

    /// The id of a word that is one token of the vocabulary, merges or not.
    private func wholeWord(_ bytes: UnsafeBufferPointer<UInt8>) -> Int? {
        var token: [UInt8] = []
        for byte in bytes { token.append(contentsOf: ByteAlphabet.encoded[Int(byte)]) }
        return allowed(tokenizer.vocabulary.id(of: token))
    }

    /// Untrusted text must not spell a special token that is also a word of the vocabulary.
    private func allowed(_ id: Int?) -> Int? {
        guard let id, recognizes || tokenizer.added[id] == nil else { return nil }
        return id
    }

    /// SentencePiece: pieces of the user's stay whole, what is between them is encoded.
    private mutating func encodePieces(_ bytes: UnsafeBufferPointer<UInt8>) {
        guard !tokenizer.wholePieceMatcher.isEmpty else { return encodeScalars(bytes) }
        tokenizer.wholePieceMatcher.forEachSegment(in: bytes) { segment in
            switch segment {
            case .token(let id): ids.append(id)
            case .text(let range): encodeScalars(UnsafeBufferPointer(rebasing: bytes[range]))
            }
        }
    }

    /// SentencePiece: scalars that the vocabulary lacks become bytes, or the unknown token.
    private mutating func encodeScalars(_ bytes: UnsafeBufferPointer<UInt8>) {
        if tokenizer.ignoresMerges, let id = allowed(tokenizer.vocabulary.id(of: bytes)) {
            ids.append(id)
            return
        }
        scratch.symbols.removeAll(keepingCapacity: true)
        var hasPendingUnknown = false
        var position = 0
        while position < bytes.count {
            let end = position + DecodedScalar(bytes, at: position).length
            let scalar = UnsafeBufferPointer(rebasing: bytes[position..<end])
            position = end
            if let id = allowed(tokenizer.vocabulary.id(of: scalar)) {
                if hasPendingUnknown { appendUnknown() }
                hasPendingUnknown = false
                scratch.symbols.append(Int32(truncatingIfNeeded: id))
            } else if scalar.allSatisfy({ tokenizer.byteSymbols[Int($0)] >= 0 }) {
                // `tokenizers` lets a pending unknown wait here.
                for byte in scalar { scratch.symbols.append(tokenizer.byteSymbols[Int(byte)]) }
            } else {
                if hasPendingUnknown, !tokenizer.fusesUnknown { appendUnknown() }
                hasPendingUnknown = true
            }
        }
        if hasPendingUnknown { appendUnknown() }
        tokenizer.merger.merge(&scratch, into: &ids)
    }

    /// Without an unknown token, what is not known is left out.
    private mutating func appendUnknown() {
        if let unknown = tokenizer.unknown { scratch.symbols.append(unknown) }
    }
}

extension Tokenizer {
    /// The text of token ids. Bytes that are not UTF-8 become U+FFFD.
    ///
    /// - Parameters:
    ///   - ids: any numbers; those without a token, negative or beyond the vocabulary, give nothing.
    ///   - skipSpecialTokens: leave out added tokens that are marked special.
    package func decode(_ ids: [Int], skipSpecialTokens: Bool = true) -> String {
        var text = TextAssembler(decoder)
        for id in ids {
            guard let token = content(of: id, skipSpecialTokens: skipSpecialTokens) else { continue }
            text.append(token)
        }
        text.finish()
        return text.take()
    }

    /// The bytes that a token adds to a text, perhaps a part of a character; nil for an id without a token.
    package func bytes(of id: Int) -> [UInt8]? {
        content(of: id, skipSpecialTokens: false).map(bytes)
    }

    /// - Parameter token: as the files write it
    func bytes(_ token: ArraySlice<UInt8>) -> [UInt8] {
        switch decoder {
        case .byteLevel:
            var bytes: [UInt8] = []
            ByteAlphabet.decode(token, into: &bytes)
            return bytes
        case .sentencePiece(let replacement, _):
            let text = Array(token)
            let mark = Array(replacement.utf8)
            let spaced =
                text.withUnsafeBufferPointer { TextNormalizer.replace(mark, with: [0x20], in: $0) } ?? text
            return ByteFallback.byte(of: spaced).map { [$0] } ?? spaced
        }
    }

    /// The token as the files write it; nil when it gives no text.
    func content(of id: Int, skipSpecialTokens: Bool) -> ArraySlice<UInt8>? {
        if let token = added[id] {
            return skipSpecialTokens && token.isSpecial ? nil : ArraySlice(token.content.utf8)
        }
        return vocabulary.bytes(of: id)
    }
}

/// Puts tokens together to text, handing out only what later tokens cannot change any more.
struct TextAssembler: Sendable {
    private let decoder: TokenizerDefinition.Decoder
    /// Bytes that are not yet handed out, perhaps the start of a character.
    private var pending: [UInt8] = []
    /// Byte-fallback bytes since the last other token: only the whole run shows whether they are UTF-8.
    private var byteRun: [UInt8] = []
    /// Spaces still to be taken from the start of the text.
    private var toStrip: Int

    init(_ decoder: TokenizerDefinition.Decoder) {
        self.decoder = decoder
        if case .sentencePiece(_, let stripped) = decoder { toStrip = stripped } else { toStrip = 0 }
    }

    /// - Parameter token: as the files write it, valid UTF-8.
    mutating func append(_ token: ArraySlice<UInt8>) {
        switch decoder {
        case .byteLevel: ByteAlphabet.decode(token, into: &pending)
        case .sentencePiece(let replacement, _):
            let text = Array(token)
            let mark = Array(replacement.utf8)
            let spaced =
                text.withUnsafeBufferPointer { TextNormalizer.replace(mark, with: [0x20], in: $0) } ?? text
            if let byte = ByteFallback.byte(of: spaced) {
                byteRun.append(byte)
            } else {
                endByteRun()
                appendStripped(spaced)
            }
        }
    }

    /// As `tokenizers`: a run that is UTF-8 as a whole is text, any other gives one U+FFFD for each byte.
    private mutating func endByteRun() {
        guard !byteRun.isEmpty else { return }
        let replacement = [UInt8](UTF8.encodedReplacementCharacter)
        if Self.isUTF8(byteRun) {
            appendStripped(byteRun)
        } else {
            appendStripped([UInt8](byteRun.lazy.flatMap { _ in replacement }))
        }
        byteRun.removeAll(keepingCapacity: true)
    }

    private static func isUTF8(_ bytes: [UInt8]) -> Bool {
        var codec = UTF8()
        var iterator = bytes.makeIterator()
        while true {
            switch codec.decode(&iterator) {
            case .scalarValue: continue
            case .emptyInput: return true
            case .error: return false
            }
        }
    }

    private mutating func appendStripped(_ text: [UInt8]) {
        guard toStrip > 0 else { return pending.append(contentsOf: text) }
        let spaces = text.prefix(toStrip).prefix { $0 == 0x20 }.count
        if spaces < text.count { toStrip = 0 } else { toStrip -= spaces }
        pending.append(contentsOf: text.dropFirst(spaces))
    }

    /// No token follows.
    mutating func finish() { endByteRun() }

    /// All that was put together, an unfinished character at the end as U+FFFD.
    mutating func take() -> String {
        defer { pending.removeAll(keepingCapacity: true) }
        return String(decoding: pending, as: UTF8.self)
    }

    /// What is complete; the start of a character at the end is kept.
    mutating func takeComplete() -> String {
        let kept = Self.unfinishedSuffix(pending)
        defer { pending.removeFirst(pending.count - kept) }
        return String(decoding: pending.dropLast(kept), as: UTF8.self)
    }

    /// The number of bytes at the end, 0 to 3, that more bytes could make a character of.
    static func unfinishedSuffix(_ bytes: [UInt8]) -> Int {
        for length in 1...3 where length <= bytes.count {
            let lead = bytes[bytes.count - length]
            if lead & 0xC0 == 0x80 { continue }
            let needed = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1
            guard length < needed, lead >= 0xC2, lead <= 0xF4 else { return 0 }
            guard length > 1 else { return 1 }
            // The second byte's range depends on the first (no overlong forms, surrogates, or beyond
            // U+10FFFF).
            let second = bytes[bytes.count - length + 1]
            let range: ClosedRange<UInt8> =
                switch lead {
                case 0xE0: 0xA0...0xBF
                case 0xED: 0x80...0x9F
                case 0xF0: 0x90...0xBF
                case 0xF4: 0x80...0x8F
                default: 0x80...0xBF
                }
            return range.contains(second) ? length : 0
        }
        return 0
    }
}

/// `<0x00>` … `<0xFF>`: how SentencePiece vocabularies write single bytes.
enum ByteFallback {
    private static let digits = Array("0123456789ABCDEF".utf8)

    static func token(of byte: UInt8) -> [UInt8] {
        Array("<0x".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)], UInt8(ascii: ">")]
    }

    /// The byte that a token stands for, or nil for ordinary tokens.
    static func byte(of token: [UInt8]) -> UInt8? {
        guard token.count == 6, token.starts(with: "<0x".utf8), token[5] == UInt8(ascii: ">") else {
            return nil
        }
        return UInt8(String(decoding: token[3..<5], as: UTF8.self), radix: 16)
    }
}

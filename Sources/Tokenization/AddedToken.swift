/// A token that is found in the text as it stands, before any splitting.
struct AddedToken: Sendable, Equatable {
    var content: String
    var id: Int
    var isSpecial: Bool
    /// Take the white space before / after the token with it.
    var stripsLeft = false
    var stripsRight = false
    /// Only when no word character stands next to it.
    var isSingleWord = false
    /// Looked for in the normalised text, in normalised form.
    var isNormalized = false
}

/// Finds added tokens: leftmost first, longest among those that start at the same place.
struct AddedTokenMatcher: Sendable {
    private var tokens: [AddedToken] = []
    /// Trie: (node << 8 | byte) → node; node 0 is the root.
    private var edges: [Int: Int] = [:]
    /// Index into `tokens` of each node, or -1.
    private var ends: [Int] = [-1]
    private var startsToken = [Bool](repeating: false, count: 256)

    /// A piece of the text, or a token in it.
    enum Segment: Equatable {
        case text(Range<Int>)
        case token(Int)
    }

    /// - Parameter tokens: with the bytes to look for, which differ from the content for normalised tokens.
    ///   The later of two tokens with the same bytes is not found.
    init(_ tokens: [(token: AddedToken, bytes: [UInt8])]) {
        for (token, bytes) in tokens where !bytes.isEmpty {
            startsToken[Int(bytes[0])] = true
            var node = 0
            for byte in bytes {
                let key = node << 8 | Int(byte)
                if let next = edges[key] {
                    node = next
                } else {
                    node = ends.count
                    edges[key] = node
                    ends.append(-1)
                }
            }
            if ends[node] < 0 { ends[node] = self.tokens.count }
            self.tokens.append(token)
        }
    }

    var isEmpty: Bool { tokens.isEmpty }

    /// The longest token at `position`.
    private func match(_ bytes: UnsafeBufferPointer<UInt8>, at position: Int) -> (
        token: AddedToken, end: Int
    )? {
        guard startsToken[Int(bytes[position])] else { return nil }
        var node = 0
        var end = position
        var found: (index: Int, end: Int)?
        while end < bytes.count, let next = edges[node << 8 | Int(bytes[end])] {
            node = next
            end += 1
            if ends[node] >= 0 { found = (ends[node], end) }
        }
        return found.map { (tokens[$0.index], $0.end) }
    }

    /// Calls `body` for each segment of the text, in order. Empty pieces of text are left out.
    func forEachSegment(in bytes: UnsafeBufferPointer<UInt8>, _ body: (Segment) -> Void) {
        // Where text not yet handed out begins, and where the search goes on.
        var pending = 0
        var position = 0
        while position < bytes.count {
            guard let (token, matchEnd) = match(bytes, at: position) else {
                position += 1
                continue
            }
            var start = position
            var end = matchEnd
            position = matchEnd
            if token.isSingleWord, wordTouches(bytes, start, end) { continue }
            if token.stripsLeft { start = max(spaceStart(bytes, before: start), pending) }
            if token.stripsRight { end = spaceEnd(bytes, after: end) }
            if pending < start { body(.text(pending..<start)) }
            body(.token(token.id))
            pending = end
        }
        if pending < bytes.count { body(.text(pending..<bytes.count)) }
    }

    private func wordTouches(_ bytes: UnsafeBufferPointer<UInt8>, _ start: Int, _ end: Int) -> Bool {
        if start > 0, Self.isWord(scalar(bytes, before: start)) { return true }
        return end < bytes.count && Self.isWord(DecodedScalar(bytes, at: end))
    }

    private func scalar(_ bytes: UnsafeBufferPointer<UInt8>, before end: Int) -> DecodedScalar {
        var start = end - 1
        while start > 0, bytes[start] & 0xC0 == 0x80 { start -= 1 }
        return DecodedScalar(bytes, at: start)
    }

    private func spaceStart(_ bytes: UnsafeBufferPointer<UInt8>, before end: Int) -> Int {
        var start = end
        while start > 0 {
            let last = scalar(bytes, before: start)
            guard ScalarProperties.shared.scalarClass(last.value) == .space else { break }
            start -= last.length
        }
        return start
    }

    private func spaceEnd(_ bytes: UnsafeBufferPointer<UInt8>, after start: Int) -> Int {
        var end = start
        while end < bytes.count {
            let next = DecodedScalar(bytes, at: end)
            guard ScalarProperties.shared.scalarClass(next.value) == .space else { break }
            end += next.length
        }
        return end
    }

    /// `\w` of Unicode regular expressions (UTS 18, annex C).
    private static func isWord(_ scalar: DecodedScalar) -> Bool {
        guard let properties = Unicode.Scalar(scalar.value)?.properties else { return false }
        switch properties.generalCategory {
        case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation: return true
        default: return properties.isAlphabetic || properties.isJoinControl
        }
    }
}

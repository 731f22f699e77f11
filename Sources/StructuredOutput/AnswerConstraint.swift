package import Tokenization

/// Holds one answer to its format, token by token: says which tokens may come next, and sees to it that the answer can
/// always be ended within the tokens that are left.
package struct AnswerConstraint {
    /// Masks that are kept, of some 20 KB each.
    private static let mostMasks = 64

    private let trie: TokenTrie
    /// Tokens that end an answer; they may come where the format allows the end, and nowhere else.
    private let ends: Set<Int>
    /// Tokens that are never chosen.
    private let excluded: Set<Int>
    /// Whether every byte has a token, so that no text takes more tokens than bytes.
    private let hasAllBytes: Bool

    private var table: ConfigurationTable
    private var state: ConfigurationTable.State
    /// Spaces at the beginning of the text that decoding takes away.
    private var stripped: Int
    private var masks: [ConfigurationTable.State: TokenMask] = [:]
    /// The tokens that are still to come once an answer is being ended.
    private var plan: [Int]?

    /// - Parameters:
    ///   - ends: tokens that end an answer
    ///   - excluded: tokens that are never chosen
    package init(_ format: CompiledFormat, ends: Set<Int>, excluded: [Int] = []) {
        trie = format.trie
        self.ends = ends
        self.excluded = ends.union(excluded)
        let all = self.excluded
        let trie = format.trie
        hasAllBytes = (UInt8.min...UInt8.max).allSatisfy { byte in
            // These occur in no text.
            if byte == 0xC0 || byte == 0xC1 || byte > 0xF4 { return true }
            return trie.child(of: nil, byte).map { node in
                trie.tokens(at: node).contains { !all.contains(Int($0)) }
            } ?? false
        }
        table = ConfigurationTable(format.grammar)
        state = table.start
        stripped = trie.strippedSpaces
    }

    /// Whether the answer may end here.
    package var isAccepting: Bool { table.isAccepting(state) }
    /// Whether nothing can follow.
    package var isComplete: Bool { plan?.isEmpty ?? table.isComplete(state) }
    /// Whether the answer is being ended because of its limit.
    package var isClosing: Bool { plan != nil }

    /// Fewest tokens to the end; nil where the vocabulary cannot write it.
    package var tokensToEnd: Int? { shortest(from: state)?.count }

    private func shortest(from state: ConfigurationTable.State) -> [Int]? {
        trie.fewestTokens(
            for: table.shortestCompletion(of: state), atStart: stripped > 0, excluding: excluded)
    }

    /// Makes the scores of tokens that may not follow negative infinity.
    /// - Throws: `StructuredOutputError.noToken` where no token may.
    package mutating func restrict(
        _ logits: UnsafeMutableBufferPointer<Float>
    ) throws(StructuredOutputError) {
        guard allowed().apply(to: logits) else { throw .noToken }
    }

    /// The tokens that may follow.
    package mutating func allowed() -> TokenMask {
        if let mask = masks[state] { return mask }
        var mask = table.tokens(after: state, trie, stripping: stripped)
        for id in excluded { mask.remove(id) }
        if isAccepting { for id in ends { mask.insert(id) } }
        if masks.count >= Self.mostMasks { masks.removeAll(keepingCapacity: true) }
        // The first one is for a text whose spaces are taken away.
        if stripped == 0 { masks[state] = mask }
        return mask
    }

    /// Takes a token that may follow, unless the answer could not be ended any more within `remaining` tokens behind it.
    /// - Returns: whether it was taken.
    package mutating func accept(_ id: Int, remaining: Int) -> Bool {
        if ends.contains(id) { return isAccepting }
        guard let (next, left) = advanced(by: id) else { return false }
        if !(hasAllBytes && table.cost(next) <= remaining) {
            let text = table.shortestCompletion(of: next)
            guard let rest = trie.fewestTokens(for: text, atStart: left > 0, excluding: excluded),
                rest.count <= remaining
            else { return false }
        }
        (state, stripped) = (next, left)
        if table.isFull {
            state = table.forget(but: state)
            masks.removeAll(keepingCapacity: true)
        }
        return true
    }

    private mutating func advanced(by id: Int) -> (state: ConfigurationTable.State, stripped: Int)? {
        guard !excluded.contains(id), var bytes = trie.bytes(of: id) else { return nil }
        var left = stripped
        while left > 0, bytes.first == 0x20 {
            bytes = bytes.dropFirst()
            left -= 1
        }
        guard !bytes.isEmpty else { return nil }
        var next = state
        for byte in bytes {
            next = table.step(next, byte)
            if next == ConfigurationTable.dead { return nil }
        }
        return (next, 0)
    }

    /// Begins to end the answer by the shortest way.
    /// - Throws: `StructuredOutputError.noToken`.
    package mutating func close() throws(StructuredOutputError) {
        guard plan == nil else { return }
        guard let rest = shortest(from: state) else { throw .noToken }
        plan = rest
    }

    /// The next token of an answer that is being ended.
    package mutating func nextToClose() -> Int? {
        guard let first = plan?.first else { return nil }
        plan?.removeFirst()
        return first
    }
}

/// The tokens that text is made of, by the bytes that they add to it: a tree in which tokens that begin alike share a
/// path. Added tokens are not in it; those that say something special add no text.
///
/// Nodes are numbered depth first without the root, so that a walk goes through arrays from their beginning to their end
/// and leaves out whatever lies below a node by one jump.
package struct TokenTrie: Sendable {
    /// Longer tokens are left out: nothing needs them.
    private static let longestToken = 255
    /// Texts of up to so many characters have masks of their own (``plainMasks``).
    package static let plainLimit = 32
    package static let lineSeparators: ClosedRange<UInt32> = 0x2028...0x2029
    /// Of a subtree that has other tokens than plain ones.
    package static let notPlain = UInt8.max

    package struct Node: Sendable {
        /// The last byte of its path.
        package var byte: UInt8
        /// Bytes on its path, at least 1.
        package var depth: UInt8
        /// The most characters of the tokens from here on, where all of them are plain (``plainMasks``).
        package var plainCount: UInt8 = 0
        /// The same for words (``wordMasks``).
        package var wordCount: UInt8 = 0
        /// The first node behind its subtree.
        package var end: Int32 = 0
        /// Its tokens are those from here to before the next node's.
        package var firstToken: Int32
    }

    /// One more than there are: its tokens begin behind all others.
    package private(set) var nodes: [Node] = []
    package private(set) var tokens: [Int32] = []
    /// For each number of characters up to ``plainLimit``: the tokens that are plain and no longer. Plain are whole
    /// characters but control characters, quotes, backslashes and line separators: what a JSON string may hold as it is,
    /// and `.` in a regular expression takes.
    package private(set) var plainMasks: [TokenMask] = []
    /// The same for words, which are small letters of ASCII and spaces: much of a vocabulary, and what expressions of
    /// letters take.
    package private(set) var wordMasks: [TokenMask] = []
    /// Spaces at the beginning of a text that decoding takes away.
    package let strippedSpaces: Int
    /// Ids below it may be tokens.
    package let idCount: Int
    /// The root's child for each byte; -1 where there is none.
    private var roots = [Int32](repeating: -1, count: 256)

    private var pool: [UInt8] = []
    /// Each id's bytes in the pool; empty for ids that are not in the tree.
    private var ranges: [Range<Int>] = []

    /// - Parameter limit: ids from it on are left out
    package init(_ tokenizer: Tokenizer, below limit: Int) {
        self.init(
            count: max(0, min(limit, tokenizer.vocabularyCount)), strippedSpaces: tokenizer.strippedSpaces
        ) { tokenizer.textBytes(of: $0) }
    }

    /// - Parameter bytes: of each id below `count`; nil for those that are no text
    package init(count: Int, strippedSpaces: Int = 0, bytes: (Int) -> [UInt8]?) {
        idCount = count
        self.strippedSpaces = strippedSpaces
        ranges = [Range<Int>](repeating: 0..<0, count: idCount)
        var ids: [Int32] = []
        for id in 0..<idCount {
            guard let text = bytes(id), !text.isEmpty, text.count <= Self.longestToken else { continue }
            ranges[id] = pool.count..<pool.count + text.count
            pool += text
            ids.append(Int32(truncatingIfNeeded: id))
        }
        pool.withUnsafeBufferPointer { pool in
            ids.sort { left, right in
                let (left, right) = (ranges[Int(left)], ranges[Int(right)])
                for offset in 0..<min(left.count, right.count) {
                    let (a, b) = (pool[left.lowerBound + offset], pool[right.lowerBound + offset])
                    if a != b { return a < b }
                }
                return left.count == right.count
                    ? left.lowerBound < right.lowerBound : left.count < right.count
            }
        }
        addNodes(ids)
        addPlainMasks()
    }

    /// The bytes that a token adds to a text; nil for ids that are not in the tree.
    package func bytes(of id: Int) -> ArraySlice<UInt8>? {
        guard ranges.indices.contains(id), !ranges[id].isEmpty else { return nil }
        return pool[ranges[id]]
    }

    /// The child of a node by its byte; of the root where the node is nil.
    package func child(of node: Int?, _ byte: UInt8) -> Int? {
        guard let node else { return roots[Int(byte)] < 0 ? nil : Int(roots[Int(byte)]) }
        var child = node + 1
        let end = Int(nodes[node].end)
        while child < end {
            if nodes[child].byte == byte { return child }
            child = Int(nodes[child].end)
        }
        return nil
    }

    /// The tokens that end at a node.
    package func tokens(at node: Int) -> ArraySlice<Int32> {
        tokens[Int(nodes[node].firstToken)..<Int(nodes[node + 1].firstToken)]
    }

    // MARK: - Building

    /// - Parameter ids: in the order of their bytes
    private mutating func addNodes(_ ids: [Int32]) {
        var path: [Int] = []
        var last = 0..<0
        func close(_ node: Int) { nodes[node].end = Int32(truncatingIfNeeded: nodes.count) }
        for id in ids {
            let range = ranges[Int(id)]
            var common = 0
            while common < min(last.count, range.count),
                pool[last.lowerBound + common] == pool[range.lowerBound + common]
            {
                common += 1
            }
            while path.count > common { close(path.removeLast()) }
            for offset in common..<range.count {
                let byte = pool[range.lowerBound + offset]
                if offset == 0 { roots[Int(byte)] = Int32(truncatingIfNeeded: nodes.count) }
                path.append(nodes.count)
                nodes.append(
                    Node(
                        byte: byte, depth: UInt8(truncatingIfNeeded: offset + 1),
                        firstToken: Int32(truncatingIfNeeded: tokens.count)))
            }
            tokens.append(id)
            last = range
        }
        while let node = path.popLast() { close(node) }
        nodes.append(
            Node(
                byte: 0, depth: 0, end: Int32(truncatingIfNeeded: nodes.count + 1),
                firstToken: Int32(truncatingIfNeeded: tokens.count)))
    }

    private mutating func addPlainMasks() {
        plainMasks = addMasks(\.plainCount, Self.plainCharacters)
        wordMasks = addMasks(\.wordCount) { bytes in
            let isWord = bytes.allSatisfy { $0 == 0x20 || (0x61...0x7A).contains($0) }
            return isWord ? min(bytes.count, Self.longestToken - 1) : nil
        }
    }

    /// Sets the counts of the nodes for a kind of tokens.
    /// - Parameter characters: of a token; nil for tokens of other kinds
    private mutating func addMasks(
        _ count: WritableKeyPath<Node, UInt8>, _ characters: (ArraySlice<UInt8>) -> Int?
    ) -> [TokenMask] {
        var counts = [Int?](repeating: nil, count: idCount)
        for id in tokens { counts[Int(id)] = bytes(of: Int(id)).flatMap(characters) }
        // Children have higher numbers than their parents.
        for node in nodes.indices.dropLast().reversed() {
            var most: UInt8 = 0
            for id in tokens(at: node) {
                most = max(most, counts[Int(id)].map { UInt8(truncatingIfNeeded: $0) } ?? Self.notPlain)
            }
            var child = node + 1
            while child < Int(nodes[node].end) {
                most = max(most, nodes[child][keyPath: count])
                child = Int(nodes[child].end)
            }
            nodes[node][keyPath: count] = most
        }
        return (0...Self.plainLimit).map { limit in
            var mask = TokenMask(count: idCount)
            for id in tokens { if let count = counts[Int(id)], count <= limit { mask.insert(Int(id)) } }
            return mask
        }
    }

    /// The number of characters; nil unless all are whole and plain.
    private static func plainCharacters(_ bytes: ArraySlice<UInt8>) -> Int? {
        guard bytes.allSatisfy({ $0 >= 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }),
            let text = String(validating: bytes, as: UTF8.self),
            !text.unicodeScalars.contains(where: { lineSeparators.contains($0.value) })
        else { return nil }
        return min(text.unicodeScalars.count, longestToken - 1)
    }
}

extension Tokenizer {
    /// Spaces at the beginning of a text that decoding takes away.
    var strippedSpaces: Int {
        if case .sentencePiece(_, let stripped) = decoder { stripped } else { 0 }
    }

    /// The bytes that a token adds to a text, behind other tokens; nil for added tokens and where there is none.
    func textBytes(of id: Int) -> [UInt8]? {
        guard added[id] == nil, unknown.map({ Int($0) != id }) ?? true else { return nil }
        return vocabulary.bytes(of: id).map(bytes)
    }
}

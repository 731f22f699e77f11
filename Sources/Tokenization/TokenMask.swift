/// A set of tokens, a bit for each id.
package struct TokenMask: Sendable, Equatable {
    private var words: [UInt64]

    /// An empty set of ids below `count`.
    package init(count: Int) { words = [UInt64](repeating: 0, count: (count + 63) / 64) }

    package var isEmpty: Bool { words.allSatisfy { $0 == 0 } }
    package var count: Int { words.reduce(0) { $0 + $1.nonzeroBitCount } }

    package func contains(_ id: Int) -> Bool {
        id >= 0 && id >> 6 < words.count && words[id >> 6] >> UInt64(id & 63) & 1 == 1
    }

    /// Ids that the set was not made for are left out.
    package mutating func insert(_ id: Int) {
        if id >= 0, id >> 6 < words.count { words[id >> 6] |= 1 << UInt64(id & 63) }
    }

    package mutating func remove(_ id: Int) {
        if id >= 0, id >> 6 < words.count { words[id >> 6] &= ~(1 << UInt64(id & 63)) }
    }

    /// Makes the scores of all other tokens negative infinity.
    /// - Returns: whether any score is left.
    package func apply(to logits: UnsafeMutableBufferPointer<Float>) -> Bool {
        var isAnyLeft = false
        for first in stride(from: 0, to: logits.count, by: 64) {
            let word = first >> 6 < words.count ? words[first >> 6] : 0
            let end = min(first + 64, logits.count)
            if word == 0 {
                for id in first..<end { logits[id] = -.infinity }
            } else if word == .max {
                isAnyLeft = true
            } else {
                for id in first..<end {
                    if word >> UInt64(id - first) & 1 == 1 {
                        isAnyLeft = true
                    } else {
                        logits[id] = -.infinity
                    }
                }
            }
        }
        return isAnyLeft
    }
}

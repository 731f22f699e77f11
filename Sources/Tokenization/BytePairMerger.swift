import HeapModule

/// The merge rules of a byte-pair encoding, applied lowest rank first, leftmost first among equals.
struct BytePairMerger: Sendable {
    /// Left id in the upper, right id in the lower 32 bits → rank in the upper, merged id in the lower 32
    /// bits.
    private var rules: [UInt64: UInt64] = [:]
    private static let none = UInt64.max
    /// Words of at most this many symbols are scanned again for each merge, which beats a heap for them.
    private static let shortWord = 40

    init(capacity: Int) { rules.reserveCapacity(capacity) }

    /// Adds a rule. Several may have one rank.
    /// - Returns: the rank of an earlier rule for the same pair, which it replaces; nil where there is none.
    mutating func add(left: Int, right: Int, rank: Int, merged: Int) -> Int? {
        rules.updateValue(Self.pack(rank, merged), forKey: Self.pack(left, right)).map { Int($0 >> 32) }
    }

    private static func pack(_ high: Int, _ low: Int) -> UInt64 {
        UInt64(UInt32(truncatingIfNeeded: high)) << 32 | UInt64(UInt32(truncatingIfNeeded: low))
    }

    @inline(__always)
    private func rule(_ left: Int32, _ right: Int32) -> UInt64 {
        rules[UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))] ?? Self.none
    }

    /// Buffers that are kept from word to word.
    struct Scratch {
        /// The word: one id per byte or scalar on entry.
        var symbols: [Int32] = []
        fileprivate var rules: [UInt64] = []
        fileprivate var next: [Int] = []
        fileprivate var previous: [Int] = []
    }

    /// Merges `scratch.symbols` as far as the rules go and appends the ids that remain.
    func merge(_ scratch: inout Scratch, into result: inout [Int]) {
        if scratch.symbols.count <= Self.shortWord {
            mergeShort(&scratch)
            for symbol in scratch.symbols { result.append(Int(symbol)) }
        } else {
            mergeLong(&scratch, into: &result)
        }
    }

    /// Quadratic in the number of symbols, which is small.
    func mergeShort(_ scratch: inout Scratch) {
        let count = scratch.symbols.count
        guard count > 1 else { return }
        scratch.rules.removeAll(keepingCapacity: true)
        for index in 0..<count - 1 {
            scratch.rules.append(rule(scratch.symbols[index], scratch.symbols[index + 1]))
        }
        while true {
            var best = Self.none
            var place = 0
            // By the rank alone: of equal ones the leftmost goes first.
            for (index, candidate) in scratch.rules.enumerated() where candidate >> 32 < best >> 32 {
                best = candidate
                place = index
            }
            guard best != Self.none else { return }
            scratch.symbols[place] = Int32(truncatingIfNeeded: best)
            scratch.symbols.remove(at: place + 1)
            scratch.rules.remove(at: place)
            if place > 0 {
                scratch.rules[place - 1] = rule(scratch.symbols[place - 1], scratch.symbols[place])
            }
            if place < scratch.rules.count {
                scratch.rules[place] = rule(scratch.symbols[place], scratch.symbols[place + 1])
            }
        }
    }

    /// n log n in the number of symbols: a linked list of symbols and a heap of candidate merges. Each merge
    /// takes one symbol away and adds at most two candidates, so at most 3n candidates are ever pushed.
    func mergeLong(_ scratch: inout Scratch, into result: inout [Int]) {
        let count = scratch.symbols.count
        // `scratch.rules[i]`: the rule for symbol i and the one after it, or none.
        scratch.rules = [UInt64](repeating: Self.none, count: count)
        scratch.next = Array(1...count)
        scratch.previous = Array(-1..<count - 1)
        var candidates: [UInt64] = []
        for index in 0..<count - 1 {
            let found = rule(scratch.symbols[index], scratch.symbols[index + 1])
            scratch.rules[index] = found
            if found != Self.none { candidates.append(Self.candidate(found, index)) }
        }
        var heap = Heap(candidates)
        while let candidate = heap.popMin() {
            let place = Int(candidate & 0xFF_FFFF_FFFF)
            let current = scratch.rules[place]
            // The pair may have changed since; one of an equal rank is the next to be merged here as well.
            guard current != Self.none, current >> 32 == candidate >> 40 else { continue }
            let right = scratch.next[place]
            let after = scratch.next[right]
            scratch.symbols[place] = Int32(truncatingIfNeeded: current)
            scratch.rules[right] = Self.none
            scratch.next[place] = after
            if after < count {
                scratch.previous[after] = place
                update(place, after, &scratch, &heap)
            } else {
                scratch.rules[place] = Self.none
            }
            let before = scratch.previous[place]
            if before >= 0 { update(before, place, &scratch, &heap) }
        }
        var index = 0
        while index < count {
            result.append(Int(scratch.symbols[index]))
            index = scratch.next[index]
        }
    }

    private func update(_ place: Int, _ next: Int, _ scratch: inout Scratch, _ heap: inout Heap<UInt64>) {
        let found = rule(scratch.symbols[place], scratch.symbols[next])
        scratch.rules[place] = found
        if found != Self.none { heap.insert(Self.candidate(found, place)) }
    }

    /// Rank (24 bits, see `TokenizerLimits.merges`) above place (40 bits): ordered as the merges are to be
    /// done.
    private static func candidate(_ rule: UInt64, _ place: Int) -> UInt64 {
        (rule >> 32) << 40 | UInt64(truncatingIfNeeded: place)
    }
}

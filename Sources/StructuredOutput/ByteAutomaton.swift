/// A deterministic automaton over bytes for a regular expression: at each place every byte leads to one other place.
struct ByteAutomaton: Sendable {
    static let mostStates = 20_000
    static let mostParts = 100_000
    /// Steps of the construction, which take some nanoseconds each.
    static let mostWork = 2_000_000

    struct State: Sendable {
        /// In the order of their bytes, none twice; targets are states.
        var edges: [Grammar.Edge]
        var isAccepting: Bool
    }

    /// The first one is where texts begin.
    private(set) var states: [State] = []

    /// - Throws: `StructuredOutputError.tooLarge` for an expression that needs too many states.
    init(_ expression: RegularExpression, _ encoding: ScalarSet.Encoding) throws(StructuredOutputError) {
        var parts = ExpressionParts(encoding)
        let start = try parts.add(expression, then: ExpressionParts.end)
        var work = 0
        var numbers: [[Int32]: Int] = [:]
        var sets: [[Int32]] = []
        func number(_ seeds: [Int32]) throws(StructuredOutputError) -> Int {
            let set = parts.closure(seeds, &work)
            guard work <= Self.mostWork else { throw Self.tooComplex }
            if let known = numbers[set] { return known }
            guard sets.count < Self.mostStates else { throw Self.tooComplex }
            numbers[set] = sets.count
            sets.append(set)
            return sets.count - 1
        }
        _ = try number([Int32(truncatingIfNeeded: start)])
        while states.count < sets.count {
            let set = sets[states.count]
            var edges: [Grammar.Edge] = []
            for (range, targets) in parts.steps(from: set, &work) {
                let target = try number(targets)
                if let last = edges.last, last.target == Int32(truncatingIfNeeded: target),
                    last.high == range.lowerBound &- 1
                {
                    edges[edges.count - 1].high = range.upperBound
                } else {
                    edges.append(Grammar.Edge(range.lowerBound, range.upperBound, target))
                }
            }
            states.append(
                State(edges: edges, isAccepting: set.contains(Int32(truncatingIfNeeded: ExpressionParts.end)))
            )
        }
    }

    private static let tooComplex = StructuredOutputError.tooLarge(
        what: "states for a regular expression", limit: mostStates)

    /// Adds the automaton to a grammar.
    /// - Returns: the node where it begins.
    func add(to builder: inout GrammarBuilder, then next: Int) throws(StructuredOutputError) -> Int {
        var nodes: [Int] = []
        for _ in states { nodes.append(try builder.reserve()) }
        for (index, state) in states.enumerated() {
            let bytes = Grammar.Node.bytes(
                state.edges.map { Grammar.Edge($0.low, $0.high, nodes[Int($0.target)]) })
            if state.isAccepting {
                let inside = try builder.add(bytes)
                builder.set(
                    nodes[index],
                    .split([Int32(truncatingIfNeeded: next), Int32(truncatingIfNeeded: inside)]))
            } else {
                builder.set(nodes[index], bytes)
            }
        }
        return nodes[0]
    }
}

/// A regular expression as a nondeterministic automaton, put together from its end.
private struct ExpressionParts {
    static let end = 0

    private enum Part {
        case end
        case bytes([Grammar.Edge])
        case split([Int32])
    }

    private let encoding: ScalarSet.Encoding
    private var parts: [Part] = [.end]
    /// The sequences of sets that occurred.
    private var sequences: [ScalarSet: [ScalarSet.Bytes]] = [:]

    init(_ encoding: ScalarSet.Encoding) { self.encoding = encoding }

    private mutating func add(_ part: Part) throws(StructuredOutputError) -> Int {
        guard parts.count < ByteAutomaton.mostParts else {
            throw .tooLarge(what: "parts of a regular expression", limit: ByteAutomaton.mostParts)
        }
        parts.append(part)
        return parts.count - 1
    }

    private mutating func split(_ places: [Int]) throws(StructuredOutputError) -> Int {
        try add(.split(places.map { Int32(truncatingIfNeeded: $0) }))
    }

    mutating func add(_ expression: RegularExpression, then next: Int) throws(StructuredOutputError) -> Int {
        switch expression {
        case .empty: return next
        case .characters(let set): return try add(set, then: next)
        case .sequence(let members):
            var next = next
            for member in members.reversed() { next = try add(member, then: next) }
            return next
        case .alternatives(let members):
            var places: [Int] = []
            for member in members { places.append(try add(member, then: next)) }
            return try split(places)
        case .repeated(let member, let least, let most):
            var next = next
            if let most {
                let exit = next
                for _ in least..<most { next = try split([exit, add(member, then: next)]) }
            } else {
                let loop = try add(.split([]))
                let inside = try add(member, then: loop)
                parts[loop] = .split([Int32(truncatingIfNeeded: next), Int32(truncatingIfNeeded: inside)])
                next = loop
            }
            for _ in 0..<least {
                let place = try add(member, then: next)
                // Nothing, however often it is repeated.
                if place == next { break }
                next = place
            }
            return next
        }
    }

    /// A character: one part for its first byte; the parts behind are shared where the same bytes follow.
    private mutating func add(_ set: ScalarSet, then next: Int) throws(StructuredOutputError) -> Int {
        let all = sequences[set] ?? set.bytes(encoding)
        sequences[set] = all
        var known: [ScalarSet.Bytes: Int] = [[]: next]
        func place(_ rest: ArraySlice<ClosedRange<UInt8>>) throws(StructuredOutputError) -> Int {
            if let place = known[Array(rest)] { return place }
            guard let first = rest.first else { return next }
            let behind = try place(rest.dropFirst())
            let place = try add(.bytes([Grammar.Edge(first.lowerBound, first.upperBound, behind)]))
            known[Array(rest)] = place
            return place
        }
        var edges: [Grammar.Edge] = []
        for sequence in all {
            guard let first = sequence.first else { continue }
            edges.append(Grammar.Edge(first.lowerBound, first.upperBound, try place(sequence.dropFirst())))
        }
        return try add(.bytes(edges))
    }

    /// The parts that take bytes, and the end, where places lead without a byte; in order.
    func closure(_ seeds: [Int32], _ work: inout Int) -> [Int32] {
        var (seen, stack, result) = (Set<Int32>(), seeds, [Int32]())
        while let place = stack.popLast() {
            work += 1
            guard seen.insert(place).inserted else { continue }
            switch parts[Int(place)] {
            case .split(let places): stack += places
            case .bytes, .end: result.append(place)
            }
        }
        return result.sorted()
    }

    /// Where bytes lead from a set of parts, by ranges of bytes in order.
    func steps(from set: [Int32], _ work: inout Int) -> [(ClosedRange<UInt8>, [Int32])] {
        var edges: [Grammar.Edge] = []
        for place in set { if case .bytes(let some) = parts[Int(place)] { edges += some } }
        let begins = Set(edges.flatMap { [Int($0.low), Int($0.high) + 1] }).sorted()
        var result: [(ClosedRange<UInt8>, [Int32])] = []
        for (low, end) in zip(begins, begins.dropFirst()) {
            let targets = Set(edges.lazy.filter { Int($0.low) <= low && low <= Int($0.high) }.map(\.target))
            work += edges.count
            guard !targets.isEmpty else { continue }
            result.append(
                (UInt8(truncatingIfNeeded: low)...UInt8(truncatingIfNeeded: end - 1), targets.sorted()))
        }
        return result
    }
}

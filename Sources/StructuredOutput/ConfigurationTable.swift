internal import Tokenization

/// The grammar's automaton made deterministic where a text leads: a state is all places at which the text may be, each
/// with the calls that it comes back from.
///
/// Calls of a rule at the same place in the text share one frame, so that a state has no more configurations than the
/// grammar has nodes for each place where a call is open, however many ways of reading the text there are.
struct ConfigurationTable {
    typealias State = Int32

    private struct Configuration: Hashable, Comparable {
        var node: Int32
        var frame: Int32

        static func < (left: Self, right: Self) -> Bool {
            left.node == right.node ? left.frame < right.frame : left.node < right.node
        }
    }

    /// Where calls of one rule come back to.
    private struct Frame {
        var returns: [Configuration]
        /// Fewest bytes behind the end of the rule.
        var cost: Int
    }

    private struct Content: Hashable {
        /// At nodes that take bytes; in order.
        var configurations: [Configuration]
        var isAccepting: Bool
    }

    static let dead: State = -1
    private static let unknown: State = -2
    /// More states than this are forgotten, but for the one where the text is.
    private static let mostStates = 1 << 14
    /// So many configurations at once are of no format that people write.
    private static let mostConfigurations = 1 << 14

    private let grammar: Grammar
    private var frames: [Frame] = [Frame(returns: [], cost: 0)]
    private var frameNumbers: [[Configuration]: Int32] = [:]
    private var states: [Content] = []
    private var stateNumbers: [Content: State] = [:]
    private var statesOfSeeds: [[Configuration]: State] = [:]
    /// For each state and class of bytes the next state.
    private var steps: [State] = []
    /// For each state those behind any plain character; nil where some character is not allowed.
    private var plainSteps: [State: Set<State>?] = [:]
    private(set) var start: State = 0

    init(_ grammar: Grammar) {
        self.grammar = grammar
        start = number(closure([Configuration(node: grammar.start, frame: 0)]))
    }

    // MARK: - States

    func isAccepting(_ state: State) -> Bool { states[Int(state)].isAccepting }

    /// Whether no byte can follow.
    func isComplete(_ state: State) -> Bool { states[Int(state)].configurations.isEmpty }

    var isFull: Bool { states.count > Self.mostStates }

    /// Forgets all states but one.
    /// - Returns: its new number.
    mutating func forget(but state: State) -> State {
        let old = (frames, states[Int(state)])
        frames = [Frame(returns: [], cost: 0)]
        frameNumbers = [:]
        states = []
        stateNumbers = [:]
        statesOfSeeds = [:]
        steps = []
        plainSteps = [:]
        var moved: [Int32: Int32] = [0: 0]
        // A frame's returns are in frames with lower numbers.
        var (needed, stack) = (Set<Int32>(), old.1.configurations.map(\.frame))
        while let frame = stack.popLast() {
            guard needed.insert(frame).inserted else { continue }
            stack += old.0[Int(frame)].returns.map(\.frame)
        }
        for frame in needed.sorted() where frame != 0 {
            let returns = old.0[Int(frame)].returns.map {
                Configuration(node: $0.node, frame: moved[$0.frame] ?? 0)
            }
            moved[frame] = self.frame(returns)
        }
        var content = old.1
        for index in content.configurations.indices {
            content.configurations[index].frame = moved[content.configurations[index].frame] ?? 0
        }
        content.configurations.sort()
        start = Self.dead
        return number(content)
    }

    private mutating func frame(_ returns: [Configuration]) -> Int32 {
        let returns = returns.sorted()
        if let known = frameNumbers[returns] { return known }
        let cost = returns.map(cost).min() ?? 0
        let number = Int32(truncatingIfNeeded: frames.count)
        frames.append(Frame(returns: returns, cost: cost))
        frameNumbers[returns] = number
        return number
    }

    private mutating func number(_ content: Content) -> State {
        if let known = stateNumbers[content] { return known }
        let state = State(truncatingIfNeeded: states.count)
        states.append(content)
        stateNumbers[content] = state
        steps.append(contentsOf: repeatElement(Self.unknown, count: grammar.classCount))
        return state
    }

    /// The state behind a byte.
    mutating func step(_ state: State, _ byte: UInt8) -> State {
        let place = Int(state) * grammar.classCount + Int(grammar.classes[Int(byte)])
        let known = steps[place]
        if known != Self.unknown { return known }
        let next = makeStep(state, byte)
        steps[place] = next
        return next
    }

    private mutating func makeStep(_ state: State, _ byte: UInt8) -> State {
        var seeds: [Configuration] = []
        for configuration in states[Int(state)].configurations {
            guard case .bytes(let edges) = grammar.nodes[Int(configuration.node)] else { continue }
            for edge in edges where edge.low <= byte && byte <= edge.high {
                seeds.append(Configuration(node: edge.target, frame: configuration.frame))
            }
        }
        guard !seeds.isEmpty else { return Self.dead }
        // Most bytes of a state lead to the same places.
        if let known = statesOfSeeds[seeds] { return known }
        let content = closure(seeds)
        let next =
            content.configurations.isEmpty && !content.isAccepting ? Self.dead : number(content)
        statesOfSeeds[seeds] = next
        return next
    }

    /// Where places lead without a byte. A rule is entered once all calls of it at this place are known.
    private mutating func closure(_ seeds: [Configuration]) -> Content {
        var (stack, seen) = (seeds, Set<Configuration>())
        var calls: [Int32: Set<Configuration>] = [:]
        var content = Content(configurations: [], isAccepting: false)
        while true {
            while let place = stack.popLast() {
                guard grammar.costs[Int(place.node)] != Grammar.unreachable, seen.insert(place).inserted,
                    seen.count < Self.mostConfigurations
                else { continue }
                switch grammar.nodes[Int(place.node)] {
                case .bytes: content.configurations.append(place)
                case .split(let places):
                    stack += places.map { Configuration(node: $0, frame: place.frame) }
                case .call(let rule, let then):
                    calls[rule, default: []].insert(Configuration(node: then, frame: place.frame))
                case .end:
                    if place.frame == 0 { content.isAccepting = true }
                    stack += frames[Int(place.frame)].returns
                }
            }
            guard let rule = calls.keys.min(by: { grammar.levels[Int($0)] < grammar.levels[Int($1)] }),
                let returns = calls.removeValue(forKey: rule)
            else { break }
            stack.append(
                Configuration(node: grammar.rules[Int(rule)], frame: frame(Array(returns))))
        }
        content.configurations.sort()
        return content
    }

    // MARK: - The shortest way to the end

    private func cost(_ place: Configuration) -> Int {
        Int(grammar.costs[Int(place.node)]) + frames[Int(place.frame)].cost
    }

    /// Fewest bytes to the end of the text.
    func cost(_ state: State) -> Int {
        let content = states[Int(state)]
        return content.isAccepting ? 0 : content.configurations.map(cost).min() ?? 0
    }

    /// The bytes of a shortest way to the end.
    func shortestCompletion(of state: State) -> [UInt8] {
        let content = states[Int(state)]
        guard !content.isAccepting, var place = content.configurations.min(by: { cost($0) < cost($1) }) else {
            return []
        }
        var result: [UInt8] = []
        // Calls that were begun on the way.
        var open: [Int32] = []
        while result.count <= 4 * Grammar.longestCompletion {
            switch grammar.nodes[Int(place.node)] {
            case .bytes(let edges):
                guard let edge = edges.min(by: { rank($0.target) < rank($1.target) }) else { return result }
                result.append(Self.example(edge.low...edge.high))
                place.node = edge.target
            case .split(let places):
                guard let next = places.min(by: { rank($0) < rank($1) }) else { return result }
                place.node = next
            case .call(let rule, let then):
                open.append(then)
                place.node = grammar.rules[Int(rule)]
            case .end:
                if let then = open.popLast() {
                    place.node = then
                } else if let next = frames[Int(place.frame)].returns.min(by: { cost($0) < cost($1) }) {
                    place = next
                } else {
                    return result
                }
            }
        }
        return result
    }

    private func rank(_ node: Int32) -> Int32 { grammar.ranks[Int(node)] }

    /// A byte that people would write.
    private static func example(_ range: ClosedRange<UInt8>) -> UInt8 {
        [UInt8(ascii: "a"), UInt8(ascii: "0"), UInt8(ascii: " "), 0x21].first(where: range.contains)
            ?? range.lowerBound
    }

    // MARK: - Tokens

    /// The tokens that may follow: those whose bytes lead to states.
    /// - Parameter stripped: spaces at the beginning of the text that decoding will take away
    mutating func tokens(after state: State, _ trie: TokenTrie, stripping stripped: Int) -> TokenMask {
        // Where any plain text of so many characters may follow, nobody has to look at such tokens one by one.
        let plain = stripped > 0 ? 0 : plainCount(state)
        var mask = plain > 0 ? trie.plainMasks[plain] : TokenMask(count: trie.idCount)
        var walk = Walk(state, stripping: stripped)
        // Where the walk comes to a step that was never made, it halts for it.
        while let (place, byte) = advance(&walk, trie, plain, &mask) {
            let next = makeStep(place, byte)
            steps[Int(place) * grammar.classCount + Int(grammar.classes[Int(byte)])] = next
        }
        return mask
    }

    /// A walk through the vocabulary's tree.
    private struct Walk {
        var node = 0
        /// The state at the beginning, and behind each byte of the node's path.
        var path: [State]
        let stripped: Int
        /// The length of a beginning of the path that is spaces to be taken away.
        var spaces = 0

        init(_ state: State, stripping stripped: Int) {
            path = [State](repeating: state, count: 257)
            self.stripped = stripped
        }
    }

    /// Goes on with a walk, through the steps that are known.
    /// - Parameter plain: plain tokens of so many characters are in the mask already
    /// - Returns: the step that is not known; nil at the end.
    private func advance(
        _ walk: inout Walk, _ trie: TokenTrie, _ plain: Int, _ mask: inout TokenMask
    ) -> (State, UInt8)? {
        let classCount = grammar.classCount
        return trie.nodes.withUnsafeBufferPointer { nodes in
            steps.withUnsafeBufferPointer { steps in
                grammar.classes.withUnsafeBufferPointer { classes in
                    var node = walk.node
                    defer { walk.node = node }
                    while node < nodes.count - 1 {
                        let here = nodes[node]
                        if Int(here.plainCount) <= plain {
                            node = Int(here.end)
                            continue
                        }
                        let depth = Int(here.depth)
                        if walk.stripped > 0 {
                            walk.spaces = min(walk.spaces, depth - 1)
                            if depth <= walk.stripped, here.byte == 0x20, walk.spaces == depth - 1 {
                                (walk.spaces, walk.path[depth]) = (depth, walk.path[0])
                                node += 1
                                continue
                            }
                        }
                        let place = walk.path[depth - 1]
                        let next = steps[Int(place) * classCount + Int(classes[Int(here.byte)])]
                        if next == Self.dead {
                            node = Int(here.end)
                            continue
                        }
                        if next == Self.unknown { return (place, here.byte) }
                        walk.path[depth] = next
                        for index in here.firstToken..<nodes[node + 1].firstToken {
                            mask.insert(Int(trie.tokens[Int(index)]))
                        }
                        node += 1
                    }
                    return nil
                }
            }
        }
    }

    /// How many characters of any plain text may follow, up to the trie's limit.
    private mutating func plainCount(_ state: State) -> Int {
        var (count, current): (Int, Set<State>) = (0, [state])
        while count < TokenTrie.plainLimit {
            var next = Set<State>()
            for place in current {
                guard let states = statesBehindAnyPlainCharacter(place) else { return count }
                next.formUnion(states)
            }
            count += 1
            if next.isSubset(of: current) { return TokenTrie.plainLimit }
            current = next
        }
        return count
    }

    /// nil where some character is not allowed.
    private mutating func statesBehindAnyPlainCharacter(_ place: State) -> Set<State>? {
        if let known = plainSteps[place] { return known }
        let result = makeStatesBehindAnyPlainCharacter(place)
        plainSteps[place] = .some(result)
        return result
    }

    private mutating func makeStatesBehindAnyPlainCharacter(_ place: State) -> Set<State>? {
        var result = Set<State>()
        for sequence in Self.plainSequences {
            var current: Set<State> = [place]
            for range in sequence {
                var next = Set<State>()
                for place in current {
                    var last: UInt8?
                    for byte in range {
                        // Bytes of one class lead to the same state.
                        let group = grammar.classes[Int(byte)]
                        if group == last { continue }
                        last = group
                        let target = step(place, byte)
                        if target == Self.dead { return nil }
                        next.insert(target)
                    }
                }
                current = next
            }
            result.formUnion(current)
        }
        return result
    }

    private static let plainSequences = JSONText.plain
        .intersection(ScalarSet([TokenTrie.lineSeparators]).inverted).bytes(.utf8)
}

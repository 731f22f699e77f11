/// A pushdown automaton over bytes: what texts of a format consist of.
///
/// Nodes are places within a text. A rule is a part that occurs in several places or within itself, such as a JSON
/// value; a call leads through a rule and comes back. No rule is empty, and none begins with itself.
struct Grammar: Sendable {
    struct Edge: Sendable, Hashable {
        var low: UInt8
        var high: UInt8
        var target: Int32

        init(_ low: UInt8, _ high: UInt8, _ target: Int) {
            (self.low, self.high) = (low, high)
            self.target = Int32(truncatingIfNeeded: target)
        }
    }

    enum Node: Sendable {
        /// A byte; several edges may take the same one.
        case bytes([Edge])
        /// Goes on at any of these places.
        case split([Int32])
        case call(rule: Int32, then: Int32)
        /// The end of a rule, and that of the text outside of all rules.
        case end
    }

    /// The shortest answer may not take more bytes, and parts that need more are never begun.
    static let longestCompletion = 1 << 16
    static let unreachable = Int32.max

    let nodes: [Node]
    /// The first node of each rule.
    let rules: [Int32]
    let start: Int32
    /// Fewest bytes from each node to the end of its rule; ``unreachable`` where there is no end.
    let costs: [Int32]
    /// Nodes by their costs, and of equal ones those first that others' costs come from.
    let ranks: [Int32]
    /// Rules in the order in which calls at the same place lead to each other.
    let levels: [Int32]
    /// For each byte the number of its class: no edge tells apart the bytes of a class.
    let classes: [UInt8]
    let classCount: Int

    /// - Throws: `StructuredOutputError.unsatisfiable`, `.tooLarge`.
    init(
        nodes: [Node], rules: [Int32], start: Int
    ) throws(StructuredOutputError) {
        self.nodes = nodes
        self.rules = rules
        self.start = Int32(truncatingIfNeeded: start)
        (costs, ranks) = Self.shortest(nodes, rules)
        guard costs[start] < Self.unreachable else { throw .unsatisfiable }
        levels = try Self.order(nodes, rules)
        var begins = [Bool](repeating: false, count: 257)
        begins[0] = true
        for case .bytes(let edges) in nodes {
            for edge in edges {
                begins[Int(edge.low)] = true
                begins[Int(edge.high) + 1] = true
            }
        }
        var (classes, count) = ([UInt8](repeating: 0, count: 256), 0)
        for byte in 0..<256 {
            if begins[byte] { count += 1 }
            classes[byte] = UInt8(truncatingIfNeeded: count - 1)
        }
        self.classes = classes
        classCount = count
    }

    /// Knuth's generalisation of Dijkstra's algorithm: a node is done once nothing that is not done could make it cheaper.
    private static func shortest(_ nodes: [Node], _ rules: [Int32]) -> (costs: [Int32], ranks: [Int32]) {
        var users: [[Int32]] = Array(repeating: [], count: nodes.count)
        for (index, node) in nodes.enumerated() {
            let index = Int32(truncatingIfNeeded: index)
            switch node {
            case .bytes(let edges): for edge in edges { users[Int(edge.target)].append(index) }
            case .split(let targets): for target in targets { users[Int(target)].append(index) }
            case .call(let rule, let then):
                users[Int(rules[Int(rule)])].append(index)
                users[Int(then)].append(index)
            case .end: break
            }
        }
        var costs = [Int32](repeating: unreachable, count: nodes.count)
        var ranks = costs
        var next: Int32 = 0
        // Nodes that cost as many bytes at most.
        var queue: [[Int32]] = Array(repeating: [], count: longestCompletion + 1)
        for (index, node) in nodes.enumerated() {
            if case .end = node { queue[0].append(Int32(truncatingIfNeeded: index)) }
        }
        for cost in 0...longestCompletion {
            var place = 0
            while place < queue[cost].count {
                let node = Int(queue[cost][place])
                place += 1
                guard costs[node] == unreachable else { continue }
                costs[node] = Int32(truncatingIfNeeded: cost)
                ranks[node] = next
                next += 1
                for user in users[node] where costs[Int(user)] == unreachable {
                    let total: Int
                    switch nodes[Int(user)] {
                    case .bytes: total = cost + 1
                    case .split: total = cost
                    case .call(let rule, let then):
                        let (inside, behind) = (costs[Int(rules[Int(rule)])], costs[Int(then)])
                        guard inside != unreachable, behind != unreachable else { continue }
                        total = Int(inside) + Int(behind)
                    case .end: continue
                    }
                    if total <= longestCompletion { queue[total].append(user) }
                }
            }
            queue[cost] = []
        }
        return (costs, ranks)
    }

    /// Callers before those that they call before any byte.
    private static func order(_ nodes: [Node], _ rules: [Int32]) throws(StructuredOutputError) -> [Int32] {
        var callers = [Int](repeating: 0, count: rules.count)
        var calls: [Set<Int32>] = Array(repeating: [], count: rules.count)
        for (rule, start) in rules.enumerated() {
            var (stack, seen) = ([start], Set<Int32>())
            while let node = stack.popLast() {
                guard seen.insert(node).inserted else { continue }
                switch nodes[Int(node)] {
                case .bytes: break
                case .split(let targets): stack += targets
                case .call(let called, _):
                    if calls[rule].insert(called).inserted { callers[Int(called)] += 1 }
                // A caller would go on behind it without a byte.
                case .end: throw .unsatisfiable
                }
            }
        }
        var ready = rules.indices.filter { callers[$0] == 0 }
        var (levels, count) = ([Int32](repeating: 0, count: rules.count), 0)
        while let rule = ready.popLast() {
            levels[rule] = Int32(truncatingIfNeeded: count)
            count += 1
            for called in calls[rule] {
                callers[Int(called)] -= 1
                if callers[Int(called)] == 0 { ready.append(Int(called)) }
            }
        }
        guard count == rules.count else { throw .unsatisfiable }
        return levels
    }
}

/// Puts a grammar together from its end to its beginning: what comes behind a part is made first.
struct GrammarBuilder {
    static let mostNodes = 200_000
    static let mostRules = 20_000

    private(set) var nodes: [Grammar.Node] = [.end]
    private var rules: [Int32] = []

    /// Where every rule ends.
    let end = 0

    mutating func add(_ node: Grammar.Node) throws(StructuredOutputError) -> Int {
        guard nodes.count < Self.mostNodes else {
            throw .tooLarge(what: "states", limit: Self.mostNodes)
        }
        nodes.append(node)
        return nodes.count - 1
    }

    /// A node that ``set(_:_:)`` says later.
    mutating func reserve() throws(StructuredOutputError) -> Int { try add(.split([])) }

    mutating func set(_ node: Int, _ content: Grammar.Node) { nodes[node] = content }

    mutating func reserveRule() throws(StructuredOutputError) -> Int {
        guard rules.count < Self.mostRules else { throw .tooLarge(what: "parts", limit: Self.mostRules) }
        rules.append(0)
        return rules.count - 1
    }

    mutating func set(rule: Int, start: Int) { rules[rule] = Int32(truncatingIfNeeded: start) }

    mutating func byte(_ range: ClosedRange<UInt8>, then next: Int) throws(StructuredOutputError) -> Int {
        try add(.bytes([Grammar.Edge(range.lowerBound, range.upperBound, next)]))
    }

    mutating func text(_ text: some BidirectionalCollection<UInt8>, then next: Int)
        throws(StructuredOutputError) -> Int
    {
        var next = next
        for byte in text.reversed() { next = try self.byte(byte...byte, then: next) }
        return next
    }

    mutating func text(_ text: String, then next: Int) throws(StructuredOutputError) -> Int {
        try self.text(Array(text.utf8), then: next)
    }

    mutating func split(_ places: [Int]) throws(StructuredOutputError) -> Int {
        if places.count == 1 { return places[0] }
        return try add(.split(places.map { Int32(truncatingIfNeeded: $0) }))
    }

    mutating func call(_ rule: Int, then next: Int) throws(StructuredOutputError) -> Int {
        try add(.call(rule: Int32(truncatingIfNeeded: rule), then: Int32(truncatingIfNeeded: next)))
    }

    func grammar(start: Int) throws(StructuredOutputError) -> Grammar {
        try Grammar(nodes: nodes, rules: rules, start: start)
    }
}

/// Who of a line is next: the highest priority, of several the one that came first. After ``patience`` others it is the
/// turn of the one that came first of all, so that nobody waits for ever, as in the engine's scheduler. Pure: it sees
/// priorities in the order in which they came.
struct LineOrder {
    static let patience = 16

    /// How many have gone before the one that came first.
    private var overtakings = 0

    /// The place of the next one.
    func next(_ priorities: some Collection<Int>) -> Int? {
        guard let first = priorities.first else { return nil }
        guard overtakings < Self.patience else { return 0 }
        var next = (place: 0, priority: first)
        for (place, priority) in priorities.enumerated() where priority > next.priority {
            next = (place, priority)
        }
        return next.place
    }

    /// Notes that the one at a place is served, which leaves the line.
    mutating func serve(_ place: Int) { overtakings = place == 0 ? 0 : overtakings + 1 }

    /// All places in the order in which they are served if nobody else comes.
    func all(_ priorities: [Int]) -> [Int] {
        let urgent = priorities.indices.sorted {
            (priorities[$1], $0) < (priorities[$0], $1)
        }
        var order = self
        var served: [Int] = []
        served.reserveCapacity(priorities.count)
        var isServed = priorities.map { _ in false }
        var (first, mostUrgent) = (0, 0)
        while served.count < priorities.count {
            while isServed[first] { first += 1 }
            while isServed[urgent[mostUrgent]] { mostUrgent += 1 }
            let next = order.overtakings < Self.patience ? urgent[mostUrgent] : first
            order.overtakings = next == first ? 0 : order.overtakings + 1
            isServed[next] = true
            served.append(next)
        }
        return served
    }
}

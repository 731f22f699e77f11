package import Models
package import Tensors

/// Keys and values of running sequences and of earlier ones, in blocks that sequences with the same beginning share.
///
/// Blocks form a tree: a block's parent holds the positions before it. Blocks in the tree are immutable and found by
/// what they hold, full ones shared by any number of sequences; the last block of a finished sequence may be partly
/// filled. A running sequence writes to blocks of its own, which join the tree as they become full. A sequence that
/// diverges within a block gets a copy of the part that it shares.
///
/// One limit covers blocks in use and remembered ones. When it is reached, the remembered block that was used least
/// recently makes room. (The idea of blocks is vLLM's PagedAttention, that of the tree SGLang's RadixAttention.)
package final class BlockPool {
    package static let blockPositions = KeyValueBlocks.blockPositions

    /// A block with its place in the tree.
    final class Node {
        let block: KeyValueBlock
        /// What its positions hold.
        fileprivate(set) var keys: [PositionKey] = []
        /// Lives as long as it has children.
        fileprivate unowned var parent: Node?
        fileprivate var children: [Node] = []
        /// Sequences that hold it.
        fileprivate var users = 0
        fileprivate var lastUse = 0

        fileprivate init(_ shape: KeyValueShape) throws(TensorError) {
            block = try KeyValueBlock(shape)
            keys.reserveCapacity(BlockPool.blockPositions)
        }
    }

    /// The blocks of one running sequence: a number of shared ones from the tree, then its own.
    package final class Lease {
        package let cache: KeyValueCache
        fileprivate var nodes: [Node] = []
        /// How many of them are in the tree.
        fileprivate var shared = 0

        package init(_ shape: KeyValueShape) { cache = KeyValueCache(shape) }
    }

    package let shape: KeyValueShape
    /// Most blocks in use and remembered, and how many there may be while a single sequence has any.
    private let limit: Int
    private let leastLimit: Int
    private var top: [Node] = []
    /// All nodes of the tree.
    private var nodes: [Node] = []
    private var free: [Node] = []
    /// Blocks of running sequences that are not in the tree.
    private var owned = 0
    /// Leases with blocks.
    private var leases = 0
    private var clock = 0

    /// - Parameters:
    ///   - byteLimit: most bytes of blocks in use and remembered; 0 remembers nothing
    ///   - longestSequence: positions that a single sequence may take whatever the limit is
    package init(_ shape: KeyValueShape, byteLimit: Int, longestSequence: Int) {
        self.shape = shape
        limit = max(byteLimit, 0) / max(shape.bytesPerBlock, 1)
        leastLimit = KeyValueShape.blocks(for: longestSequence)
    }

    /// Blocks that exist.
    private var blockCount: Int { nodes.count + free.count + owned }
    /// Bytes held from the system.
    package var byteCount: Int { blockCount * shape.bytesPerBlock }
    /// Bytes of blocks that no running sequence uses.
    package var rememberedBytes: Int {
        nodes.reduce(0) { $0 + ($1.users == 0 ? 1 : 0) } * shape.bytesPerBlock
    }

    /// Positions for which there is room beside what running sequences use, if every remembered block is given up.
    package var availablePositions: Int {
        let used = owned + nodes.reduce(0) { $0 + ($1.users > 0 ? 1 : 0) }
        return max(limit - used, 0) * Self.blockPositions
    }

    // MARK: - Sequences

    /// Fills an empty lease with what is remembered of a sequence's beginning.
    /// - Parameter keys: of the sequence's first positions, without those that have to be computed in any case
    /// - Returns: how many positions need not be computed.
    package func begin(_ lease: Lease, _ keys: ArraySlice<PositionKey>) -> Int {
        precondition(lease.nodes.isEmpty, "the lease is in use")
        clock += 1
        var rest = keys
        var parent: Node?
        while let next = children(of: parent).first(where: { Self.isFull($0, with: rest) }) {
            hold(next, in: lease)
            rest = rest.dropFirst(Self.blockPositions)
            parent = next
        }
        lease.cache.advance(by: keys.count - rest.count)
        // The block in which the sequence diverges, or ends.
        var best: (node: Node, positions: Int)?
        for child in children(of: parent) {
            let common = zip(child.keys, rest).prefix { $0 == $1 }.count
            if common > best?.positions ?? 0 { best = (child, common) }
        }
        if let best { takeOver(best.positions, of: best.node, in: lease) }
        return lease.cache.count
    }

    /// Positions of a sequence's beginning that ``begin(_:_:)`` would find.
    package func positions(rememberedOf keys: ArraySlice<PositionKey>) -> Int {
        var rest = keys
        var parent: Node?
        while let next = children(of: parent).first(where: { Self.isFull($0, with: rest) }) {
            rest = rest.dropFirst(Self.blockPositions)
            parent = next
        }
        let common = children(of: parent).reduce(0) { most, child in
            max(most, zip(child.keys, rest).prefix { $0 == $1 }.count)
        }
        return keys.count - rest.count + common
    }

    /// Makes room for `positions` in total.
    /// - Returns: false when there is none, even without remembered blocks.
    /// - Throws: `TensorError.allocationFailed`.
    package func reserve(_ positions: Int, in lease: Lease) throws(TensorError) -> Bool {
        while lease.cache.capacity < positions {
            guard let node = try newNode(for: lease) else { return false }
            owned += 1
            node.parent = nil
            add(node, to: lease)
        }
        return true
    }

    /// Puts blocks that have become full into the tree, where other sequences find them.
    /// - Parameter keys: of all positions that the lease's cache holds, and perhaps of further ones
    package func publish(_ lease: Lease, _ keys: [PositionKey]) {
        while (lease.shared + 1) * Self.blockPositions <= lease.cache.count {
            let first = lease.shared * Self.blockPositions
            publishNext(lease, keys[first..<first + Self.blockPositions])
        }
    }

    /// Ends a lease: its positions are remembered as far as the limit allows.
    /// - Parameter keys: as of ``publish(_:_:)``
    package func end(_ lease: Lease, _ keys: [PositionKey]) {
        publish(lease, keys)
        let first = lease.shared * Self.blockPositions
        if lease.cache.count > first, limit > 0 { publishNext(lease, keys[first..<lease.cache.count]) }
        drop(lease)
    }

    /// Ends a lease whose positions are not to be remembered beyond the blocks that were published.
    package func drop(_ lease: Lease) {
        clock += 1
        for (index, node) in lease.nodes.enumerated() {
            if index < lease.shared {
                node.users -= 1
                node.lastUse = clock
            } else {
                owned -= 1
                recycle(node)
            }
        }
        if !lease.nodes.isEmpty { leases -= 1 }
        lease.nodes.removeAll(keepingCapacity: true)
        lease.shared = 0
        lease.cache.removeBlocks()
        shrink()
    }

    /// Forgets everything that no running sequence uses.
    package func forget() {
        while let node = leastRecentlyUsed() { remove(node) }
        free.removeAll()
    }

    // MARK: - The tree

    private func children(of parent: Node?) -> [Node] { parent?.children ?? top }

    private static func isFull(_ node: Node, with keys: ArraySlice<PositionKey>) -> Bool {
        node.keys.count == blockPositions && keys.count >= blockPositions
            && node.keys.elementsEqual(keys.prefix(blockPositions))
    }

    private func hold(_ node: Node, in lease: Lease) {
        node.users += 1
        node.lastUse = clock
        add(node, to: lease)
        lease.shared += 1
    }

    private func add(_ node: Node, to lease: Lease) {
        if lease.nodes.isEmpty { leases += 1 }
        lease.nodes.append(node)
        lease.cache.append(node.block)
    }

    /// Begins the lease's first own block with positions of a block in the tree.
    private func takeOver(_ positions: Int, of node: Node, in lease: Lease) {
        // A last block that nobody else can begin with leaves the tree; others are copied.
        if positions == node.keys.count, node.children.isEmpty, node.users == 0 {
            detach(node)
            owned += 1
            add(node, to: lease)
            lease.cache.advance(by: positions)
            return
        }
        node.lastUse = clock
        // So that it is not the one that makes room.
        node.users += 1
        defer { node.users -= 1 }
        // Without a block for the copy the positions are computed.
        guard let copy = try? newNode(for: lease) else { return }
        copy.block.copy(positions, from: node.block)
        owned += 1
        add(copy, to: lease)
        lease.cache.advance(by: positions)
    }

    /// Puts the lease's first own block into the tree.
    private func publishNext(_ lease: Lease, _ keys: ArraySlice<PositionKey>) {
        let index = lease.shared
        let node = lease.nodes[index]
        let parent = index > 0 ? lease.nodes[index - 1] : nil
        owned -= 1
        lease.shared += 1
        if let equal = children(of: parent).first(where: { $0.keys.elementsEqual(keys) }) {
            // Another sequence has computed the same: the bits are equal.
            recycle(node)
            equal.users += 1
            equal.lastUse = clock
            lease.nodes[index] = equal
            lease.cache.replaceBlock(at: index, with: equal.block)
            return
        }
        node.keys.removeAll(keepingCapacity: true)
        node.keys.append(contentsOf: keys)
        node.parent = parent
        node.users = 1
        node.lastUse = clock
        if let parent { parent.children.append(node) } else { top.append(node) }
        nodes.append(node)
    }

    /// Takes a leaf out of the tree.
    private func detach(_ node: Node) {
        if let parent = node.parent {
            parent.children.removeAll { $0 === node }
        } else {
            top.removeAll { $0 === node }
        }
        if let place = nodes.firstIndex(where: { $0 === node }) {
            nodes.swapAt(place, nodes.count - 1)
            nodes.removeLast()
        }
        node.parent = nil
    }

    private func remove(_ node: Node) {
        detach(node)
        recycle(node)
    }

    // MARK: - Memory

    private func recycle(_ node: Node) {
        node.keys.removeAll(keepingCapacity: true)
        node.users = 0
        free.append(node)
    }

    /// The leaf that has not been used for longest and that no sequence holds.
    private func leastRecentlyUsed() -> Node? {
        var oldest: Node?
        for node in nodes where node.users == 0 && node.children.isEmpty {
            if node.lastUse < oldest?.lastUse ?? .max { oldest = node }
        }
        return oldest
    }

    /// A block for new positions; nil when all are in use.
    private func newNode(for lease: Lease) throws(TensorError) -> Node? {
        if let node = free.popLast() { return node }
        if blockCount < limit, let node = try? Node(shape) { return node }
        if let node = leastRecentlyUsed() {
            remove(node)
            return free.popLast()
        }
        let isAlone = leases == (lease.nodes.isEmpty ? 0 : 1)
        return blockCount < max(limit, isAlone ? leastLimit : 0) ? try Node(shape) : nil
    }

    /// Gives back what a single long sequence had beyond the limit.
    private func shrink() {
        while blockCount > limit {
            if free.popLast() != nil { continue }
            guard let node = leastRecentlyUsed() else { return }
            remove(node)
        }
    }
}

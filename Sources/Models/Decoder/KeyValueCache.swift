package import Tensors

/// The keys and values of every position seen so far, per layer: rows of
/// [keyValueHeads × headDimension], bfloat16 or float32.
///
/// Grows by doubling, up to the positions that a caller asked for. Belongs to one generation at a time and is
/// therefore not Sendable.
package final class KeyValueCache {
    private let layers: Int
    private let width: Int
    private let isHalf: Bool
    private var bytesPerNumber: Int { isHalf ? 2 : 4 }
    private var storage: [Storage] = []
    private var capacity = 0
    /// Positions filled.
    package private(set) var count = 0

    /// An empty cache.
    /// - Parameters:
    ///   - layers: decoder layers
    ///   - width: keyValueHeads × headDimension
    ///   - isHalf: bfloat16 instead of float32: half the memory, rounded once
    package init(layers: Int, width: Int, isHalf: Bool = false) {
        self.layers = layers
        self.width = width
        self.isHalf = isHalf
    }

    /// Bytes held.
    package var byteCount: Int { storage.reduce(0) { $0 + $1.count } }

    /// Makes room for `positions` in total, keeping what is there.
    package func reserve(_ positions: Int) throws(TensorError) {
        guard positions > capacity else { return }
        // Keys and values of a layer share one block: [2, capacity, width].
        let grown = max(positions, min(capacity * 2, positions + 4096))
        guard
            let bytes = Tensor.checkedByteCount(
                isHalf ? .bfloat16 : .float32, shape: [2, grown, width])
        else {
            throw .allocationFailed(bytes: Int.max)
        }
        var replacement: [Storage] = []
        for layer in 0..<layers {
            let block = try Storage(byteCount: bytes)
            if count > 0 {
                for half in 0..<2 {
                    let row = width * bytesPerNumber
                    let old = storage[layer].bytes[half * capacity * row..<(half * capacity + count) * row]
                    UnsafeMutableRawBufferPointer(rebasing: block.mutableBytes[(half * grown * row)...])
                        .copyMemory(from: UnsafeRawBufferPointer(rebasing: old))
                }
            }
            replacement.append(block)
        }
        storage = replacement
        capacity = grown
    }

    /// Takes over the first positions of another cache of the same decoder, in place of what is there.
    /// - Parameter positions: at most `other.count`
    package func copy(_ positions: Int, from other: KeyValueCache) throws(TensorError) {
        precondition(
            positions <= other.count && layers == other.layers && width == other.width
                && isHalf == other.isHalf)
        count = 0
        try reserve(positions)
        for layer in 0..<layers {
            for half in 0..<2 {
                let row = width * bytesPerNumber
                let from = half * other.capacity * row
                let to = half * capacity * row
                let bytes = positions * row
                UnsafeMutableRawBufferPointer(rebasing: storage[layer].mutableBytes[to..<to + bytes])
                    .copyMemory(
                        from: UnsafeRawBufferPointer(
                            rebasing: other.storage[layer].bytes[from..<from + bytes]))
            }
        }
        count = positions
    }

    /// Rows 0..<positions of a layer's keys, [positions, width]; reserve first.
    package func keys(layer: Int, positions: Int) -> KeyValueRows {
        rows(layer: layer, half: 0, positions: positions)
    }

    /// Rows 0..<positions of a layer's values, [positions, width]; reserve first.
    package func values(layer: Int, positions: Int) -> KeyValueRows {
        rows(layer: layer, half: 1, positions: positions)
    }

    /// Declares `positions` more rows filled, once every layer has written them.
    package func advance(by positions: Int) { count += positions }

    /// Forgets every position from `position` on.
    package func truncate(to position: Int) { count = max(0, min(count, position)) }

    private func rows(layer: Int, half: Int, positions: Int) -> KeyValueRows {
        precondition(positions <= capacity, "positions beyond the reserved capacity")
        guard let base = storage[layer].mutableBytes.baseAddress else {
            preconditionFailure("an allocated storage has an address")
        }
        return KeyValueRows(
            pointer: base + half * capacity * width * bytesPerNumber, rows: positions, columns: width,
            isHalf: isHalf)
    }
}

package import Tensors

/// The keys and values of every position seen so far, per layer: rows of [keyValueHeads × headDimension] float32.
///
/// Grows by doubling, up to the positions that a caller asked for. Belongs to one generation at a time and is
/// therefore not Sendable.
package final class KeyValueCache {
    private let layers: Int
    private let width: Int
    private var storage: [Storage] = []
    private var capacity = 0
    /// Positions filled.
    package private(set) var count = 0

    /// An empty cache.
    /// - Parameters:
    ///   - layers: decoder layers
    ///   - width: keyValueHeads × headDimension
    package init(layers: Int, width: Int) {
        self.layers = layers
        self.width = width
    }

    /// Bytes held.
    package var byteCount: Int { storage.reduce(0) { $0 + $1.count } }

    /// Makes room for `positions` in total, keeping what is there.
    package func reserve(_ positions: Int) throws(TensorError) {
        guard positions > capacity else { return }
        // Keys and values of a layer share one block: [2, capacity, width].
        let grown = max(positions, min(capacity * 2, positions + 4096))
        guard let bytes = Tensor.checkedByteCount(.float32, shape: [2, grown, width]) else {
            throw .allocationFailed(bytes: Int.max)
        }
        var replacement: [Storage] = []
        for layer in 0..<layers {
            let block = try Storage(byteCount: bytes)
            if count > 0 {
                for half in 0..<2 {
                    let old = storage[layer].bytes[
                        half * capacity * width * 4..<(half * capacity + count) * width * 4]
                    UnsafeMutableRawBufferPointer(rebasing: block.mutableBytes[(half * grown * width * 4)...])
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
        precondition(positions <= other.count && layers == other.layers && width == other.width)
        count = 0
        try reserve(positions)
        for layer in 0..<layers {
            for half in 0..<2 {
                let from = half * other.capacity * width * 4
                let to = half * capacity * width * 4
                let bytes = positions * width * 4
                UnsafeMutableRawBufferPointer(rebasing: storage[layer].mutableBytes[to..<to + bytes])
                    .copyMemory(
                        from: UnsafeRawBufferPointer(
                            rebasing: other.storage[layer].bytes[from..<from + bytes]))
            }
        }
        count = positions
    }

    /// Rows 0..<positions of a layer's keys, [positions, width]; reserve first.
    package func keys(layer: Int, positions: Int) -> Matrix {
        rows(layer: layer, half: 0, positions: positions)
    }

    /// Rows 0..<positions of a layer's values, [positions, width]; reserve first.
    package func values(layer: Int, positions: Int) -> Matrix {
        rows(layer: layer, half: 1, positions: positions)
    }

    /// Declares `positions` more rows filled, once every layer has written them.
    package func advance(by positions: Int) { count += positions }

    /// Forgets every position from `position` on.
    package func truncate(to position: Int) { count = max(0, min(count, position)) }

    private func rows(layer: Int, half: Int, positions: Int) -> Matrix {
        precondition(positions <= capacity, "positions beyond the reserved capacity")
        guard let base = storage[layer].mutableBytes.bindMemory(to: Float.self).baseAddress else {
            preconditionFailure("an allocated storage has an address")
        }
        return Matrix(
            pointer: base + half * capacity * width, rows: positions, columns: width, rowStride: width)
    }
}

package import Tensors

/// The keys and values of one sequence: a table of blocks, in order of positions.
///
/// Blocks come from a pool that several sequences share, or are made by ``reserve(_:)``. Belongs to one thread at a time
/// and is therefore not Sendable.
package final class KeyValueCache {
    package let shape: KeyValueShape
    package private(set) var blocks: [KeyValueBlock] = []
    /// Their addresses, where kernels read them.
    private var bases: UnsafeMutablePointer<UnsafeMutableRawPointer>
    private var basesCapacity = 32
    /// Positions filled.
    package private(set) var count = 0

    package init(_ shape: KeyValueShape) {
        self.shape = shape
        bases = .allocate(capacity: basesCapacity)
    }

    deinit { bases.deallocate() }

    /// Positions that the blocks have room for.
    package var capacity: Int { blocks.count * KeyValueBlocks.blockPositions }
    /// Bytes held.
    package var byteCount: Int { blocks.count * shape.bytesPerBlock }

    package func append(_ block: KeyValueBlock) {
        precondition(block.shape == shape, "a block of another decoder")
        if blocks.count == basesCapacity {
            let larger = UnsafeMutablePointer<UnsafeMutableRawPointer>.allocate(capacity: 2 * basesCapacity)
            larger.initialize(from: bases, count: blocks.count)
            bases.deallocate()
            (bases, basesCapacity) = (larger, 2 * basesCapacity)
        }
        bases[blocks.count] = block.base
        blocks.append(block)
    }

    /// Puts another block with the same content in place of one.
    package func replaceBlock(at index: Int, with block: KeyValueBlock) {
        precondition(block.shape == shape, "a block of another decoder")
        bases[index] = block.base
        blocks[index] = block
    }

    package func removeBlocks() {
        blocks.removeAll(keepingCapacity: true)
        count = 0
    }

    /// Makes room for `positions` in total with blocks of its own, keeping what is there.
    package func reserve(_ positions: Int) throws(TensorError) {
        while capacity < positions { append(try KeyValueBlock(shape)) }
    }

    /// Declares `positions` more filled, once every layer has written them.
    package func advance(by positions: Int) {
        precondition(count + positions <= capacity, "positions beyond the blocks")
        count += positions
    }

    /// Forgets every position from `position` on; the blocks stay.
    package func truncate(to position: Int) { count = max(0, min(count, position)) }

    /// What operations read and write; valid until the next change of the table.
    var table: KeyValueBlocks {
        KeyValueBlocks(
            bases: UnsafePointer(bases), count: blocks.count, width: shape.width,
            isBFloat16: shape.isBFloat16)
    }
}

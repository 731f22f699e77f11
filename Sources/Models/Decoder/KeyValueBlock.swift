package import Tensors

/// What the keys and values of one position are: layers × 2 × width numbers.
package struct KeyValueShape: Sendable, Hashable {
    package let layers: Int
    /// keyValueHeads × headDimension.
    package let width: Int
    /// bfloat16 instead of float32: half the memory, rounded once.
    package let isBFloat16: Bool

    package init(layers: Int, width: Int, isBFloat16: Bool) {
        self.layers = layers
        self.width = width
        self.isBFloat16 = isBFloat16
    }

    package var bytesPerBlock: Int {
        KeyValueBlocks.bytesPerBlock(layers: layers, width: width, isBFloat16: isBFloat16)
    }

    /// Blocks that hold so many positions.
    package static func blocks(for positions: Int) -> Int {
        (positions + KeyValueBlocks.blockPositions - 1) / KeyValueBlocks.blockPositions
    }
}

/// Memory for the keys and values of ``Tensors/KeyValueBlocks/blockPositions`` positions in all layers. Its content is
/// arbitrary until it is written.
package final class KeyValueBlock {
    package let shape: KeyValueShape
    private let storage: Storage
    let base: UnsafeMutableRawPointer

    /// - Throws: `TensorError.allocationFailed`.
    package init(_ shape: KeyValueShape) throws(TensorError) {
        self.shape = shape
        storage = try Storage(uninitializedByteCount: shape.bytesPerBlock)
        guard let base = storage.mutableBytes.baseAddress else {
            throw .allocationFailed(bytes: shape.bytesPerBlock)
        }
        self.base = base
    }

    /// Takes over the first positions of another block.
    package func copy(_ positions: Int, from other: KeyValueBlock) {
        precondition(shape == other.shape && (0...KeyValueBlocks.blockPositions).contains(positions))
        let row = shape.width * (shape.isBFloat16 ? 2 : 4)
        let part = KeyValueBlocks.blockPositions * row
        // Keys and values of each layer.
        for index in 0..<2 * shape.layers {
            (base + index * part).copyMemory(from: other.base + index * part, byteCount: positions * row)
        }
    }
}

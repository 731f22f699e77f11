#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Memory for activations: a stack of 64-byte aligned float32 blocks that is kept for the next run.
///
/// It grows by whole chunks while a first run finds out how much it needs; a second run with the same shapes
/// allocates nothing. What is handed out is not initialised. One workspace serves one inference; it is not
/// `Sendable`.
package final class Workspace {
    private struct Chunk {
        let base: UnsafeMutableRawPointer
        let count: Int
    }

    private var chunks: [Chunk] = []
    /// Chunk that the next block is taken from, and the first free byte in it.
    private var current = 0
    private var used = 0

    /// A chunk is at least so large, so that small shapes share one.
    private static let smallestChunk = 1 << 20

    package init() {}

    deinit {
        for chunk in chunks { free(chunk.base) }
    }

    /// A matrix whose rows follow each other without gaps, not initialised, valid until the enclosing
    /// ``scope(_:)`` ends.
    /// - Throws: `TensorError.allocationFailed`.
    package func matrix(_ rows: Int, _ columns: Int) throws(TensorError) -> Matrix {
        Matrix(
            pointer: try take(rows, columns, 1), rows: rows, columns: columns, rowStride: columns)
    }

    /// - Throws: `TensorError.allocationFailed`.
    package func map(height: Int, width: Int, channels: Int) throws(TensorError) -> FeatureMap {
        FeatureMap(
            pointer: try take(height, width, channels), height: height, width: width, channels: channels)
    }

    /// A level of the stack.
    package struct Mark {
        fileprivate let chunk: Int
        fileprivate let used: Int
    }

    /// The present level; ``release(to:)`` gives back everything that is taken after it.
    package func mark() -> Mark { Mark(chunk: current, used: used) }

    /// Gives back everything that was taken since `mark`. Use with `defer`, in the reverse order of marking.
    package func release(to mark: Mark) { (current, used) = (mark.chunk, mark.used) }

    /// Gives back, at its end, everything that was taken inside.
    package func scope<R>(_ body: () throws -> R) rethrows -> R {
        let mark = mark()
        defer { release(to: mark) }
        return try body()
    }

    /// Bytes that the workspace holds from the system.
    package var capacityBytes: Int { chunks.reduce(0) { $0 + $1.count } }

    private func take(_ a: Int, _ b: Int, _ c: Int) throws(TensorError) -> UnsafeMutablePointer<Float> {
        guard let bytes = Tensor.checkedByteCount(.float32, shape: [a, b, c]), bytes <= Int.max / 2 else {
            throw .allocationFailed(bytes: Int.max)
        }
        let size = max((bytes + Storage.alignment - 1) / Storage.alignment, 1) * Storage.alignment
        while current < chunks.count, chunks[current].count - used < size {
            current += 1
            used = 0
        }
        if current == chunks.count {
            // Each chunk doubles the total, so that a workspace has few of them.
            let count = max(size, capacityBytes, Self.smallestChunk)
            if let base = SystemMemory.allocate(count) {
                chunks.append(Chunk(base: base, count: count))
            } else if let base = SystemMemory.allocate(size) {
                chunks.append(Chunk(base: base, count: size))
            } else {
                throw .allocationFailed(bytes: bytes)
            }
            used = 0
        }
        defer { used += size }
        return (chunks[current].base + used).assumingMemoryBound(to: Float.self)
    }
}

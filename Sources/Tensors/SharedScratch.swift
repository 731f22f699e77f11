#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Blocks of memory that are kept from use to use. Uses may nest, and come from several threads.
final class SharedScratch: @unchecked Sendable {
    private struct Block {
        var base: UnsafeMutableRawPointer
        var count: Int
    }

    // Guarded by `lock`: that makes `@unchecked Sendable` true.
    private var free: [Block] = []
    private let lock = SystemMutex()

    /// As many as are in use at once: a hidden activation and its integers.
    private static let keep = 2

    deinit { for block in free { Self.release(block) } }

    /// Runs `body` with at least `count` uninitialised bytes, aligned to 64.
    ///
    /// Memory that cannot be had ends the program: it is a few MiB, and operations have no way to fail.
    func withBlock(_ count: Int, _ body: (UnsafeMutableRawPointer) -> Void) {
        guard let block = take(count) else { return }
        body(block.base)
        lock.lock()
        free.append(block)
        free.sort { $0.count < $1.count }
        let surplus = free.count > Self.keep ? free.removeFirst() : nil
        lock.unlock()
        if let surplus { Self.release(surplus) }
    }

    /// The smallest free block that is large enough; else the largest one makes way for a larger one.
    private func take(_ count: Int) -> Block? {
        lock.lock()
        let place = free.firstIndex { $0.count >= count }
        let found = place.map { free.remove(at: $0) }
        let small = found == nil ? free.popLast() : nil
        lock.unlock()
        if let found { return found }
        if let small { Self.release(small) }
        var base: UnsafeMutableRawPointer?
        let bytes = max(count, Storage.alignment)
        let result = posix_memalign(&base, Storage.alignment, bytes)
        precondition(result == 0, "no memory for scratch of \(bytes) bytes")
        return base.map { Block(base: $0, count: bytes) }
    }

    private static func release(_ block: Block) {
        #if canImport(Glibc)
            Glibc.free(block.base)
        #elseif canImport(Musl)
            Musl.free(block.base)
        #elseif canImport(Darwin)
            Darwin.free(block.base)
        #endif
    }
}

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
    private var idle: [Block] = []
    private let lock = SystemMutex()

    /// As many as are in use at once: a hidden activation and its integers.
    private static let keep = 2

    deinit { for block in idle { free(block.base) } }

    /// Runs `body` with at least `count` uninitialised bytes, aligned to 64.
    /// - Returns: false where the system has not so much memory; then `body` has not run.
    func withBlock(_ count: Int, _ body: (UnsafeMutableRawPointer) -> Void) -> Bool {
        guard let block = take(count) else { return false }
        body(block.base)
        lock.lock()
        idle.append(block)
        idle.sort { $0.count < $1.count }
        let surplus = idle.count > Self.keep ? idle.removeFirst() : nil
        lock.unlock()
        if let surplus { free(surplus.base) }
        return true
    }

    /// The smallest idle block that is large enough; else the largest one makes way for a larger one.
    private func take(_ count: Int) -> Block? {
        lock.lock()
        let place = idle.firstIndex { $0.count >= count }
        let found = place.map { idle.remove(at: $0) }
        let small = found == nil ? idle.popLast() : nil
        lock.unlock()
        if let found { return found }
        if let small { free(small.base) }
        let bytes = max(count, Storage.alignment)
        return SystemMemory.allocate(bytes).map { Block(base: $0, count: bytes) }
    }
}

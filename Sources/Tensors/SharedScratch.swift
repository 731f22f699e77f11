#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// One block of memory that is kept from use to use; users at the same time get their own.
final class SharedScratch: @unchecked Sendable {
    // Guarded by `lock`: that makes `@unchecked Sendable` true.
    private var kept: (base: UnsafeMutableRawPointer, count: Int)?
    private let lock = SystemMutex()

    deinit { if let kept { free(kept.base) } }

    /// Runs `body` with at least `count` uninitialised bytes, aligned to 64.
    ///
    /// Memory that cannot be had ends the program: it is a few MiB, and operations have no way to fail.
    func withBlock(_ count: Int, _ body: (UnsafeMutableRawPointer) -> Void) {
        lock.lock()
        var block = kept
        kept = nil
        lock.unlock()
        if block.map({ $0.count < count }) ?? true {
            free(block?.base)
            var base: UnsafeMutableRawPointer?
            let bytes = max(count, Storage.alignment)
            let result = posix_memalign(&base, Storage.alignment, bytes)
            precondition(result == 0, "no memory for scratch of \(bytes) bytes")
            block = base.map { ($0, bytes) }
        }
        guard let block else { return }
        body(block.base)
        lock.lock()
        let other = kept
        kept = block
        lock.unlock()
        free(other?.base)
    }
}

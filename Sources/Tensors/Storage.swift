internal import SystemFiles

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// A block of bytes that lives as long as somebody refers to it: allocated (64-byte aligned) or a file mapped
/// read-only.
///
/// It is written only by whoever made it, before it is shared; afterwards it is immutable. That is what makes
/// `@unchecked Sendable` true.
package final class Storage: @unchecked Sendable {
    private enum Kind { case allocated, mapped }

    let base: UnsafeMutableRawPointer
    private let kind: Kind
    /// Number of usable bytes.
    package let count: Int

    /// Cache lines and the widest vector registers are 64 bytes.
    package static let alignment = 64

    /// Zeroed memory, aligned to 64 bytes.
    /// - Throws: `TensorError.allocationFailed` for a negative or unobtainable size.
    package convenience init(byteCount: Int) throws(TensorError) {
        try self.init(uninitializedByteCount: byteCount)
        memset(base, 0, Self.padded(byteCount))
    }

    /// Memory with arbitrary content, aligned to 64 bytes: for makers that write every byte, perhaps on
    /// several threads, so that no page is touched twice.
    /// - Throws: `TensorError.allocationFailed` for a negative or unobtainable size.
    package init(uninitializedByteCount byteCount: Int) throws(TensorError) {
        guard byteCount >= 0, byteCount <= Int.max - 4096 else {
            throw .allocationFailed(bytes: byteCount)
        }
        guard let pointer = SystemMemory.allocate(Self.padded(byteCount)) else {
            throw .allocationFailed(bytes: byteCount)
        }
        base = pointer
        kind = .allocated
        count = byteCount
    }

    /// Maps a whole file, read-only.
    /// - Throws: `TensorError.mappingFailed` with the system's reason.
    package init(mapping path: String) throws(TensorError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw .mappingFailed(path: path, reason: .last)
        }
        defer { close(descriptor) }
        var information = stat()
        guard fstat(descriptor, &information) == 0 else {
            throw .mappingFailed(path: path, reason: .last)
        }
        guard information.st_mode & S_IFMT == S_IFREG else {
            throw .mappingFailed(path: path, reason: "not a regular file")
        }
        let size = Int(information.st_size)
        guard size > 0 else {
            throw .mappingFailed(path: path, reason: "the file is empty")
        }
        guard let pointer = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0), pointer != MAP_FAILED
        else {
            throw .mappingFailed(path: path, reason: .last)
        }
        base = pointer
        kind = .mapped
        count = size
    }

    deinit {
        switch kind {
        case .allocated: free(base)
        case .mapped: munmap(base, count)
        }
    }

    /// All bytes. Valid while the storage lives.
    package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    /// All bytes, writable: for the maker of an allocated storage, before it is shared.
    /// Empty for a mapped file.
    package var mutableBytes: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: base, count: kind == .allocated ? count : 0)
    }

    /// Tells the system that mapped pages in `range` are not needed soon, so that they stop counting as
    /// resident once their content has been packed elsewhere. No effect on allocated memory; the pages come
    /// back from the file when they are read again.
    package func releasePages(in range: Range<Int>) {
        guard kind == .mapped else { return }
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        let first = (max(range.lowerBound, 0) + page - 1) / page * page
        let last = min(range.upperBound, count) / page * page
        if last > first { madvise(base + first, last - first, MADV_DONTNEED) }
    }

    /// Whole cache lines, at least one.
    private static func padded(_ byteCount: Int) -> Int {
        max((byteCount + alignment - 1) / alignment * alignment, alignment)
    }
}

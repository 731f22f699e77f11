#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// A file that grows by whole lines, so that work that was interrupted can go on where it ended.
///
/// A line is written at once or, where that fails, taken back. What stands in the file is never touched, but for what
/// the caller cuts off (``cut(to:)``). One process writes at a time. For one task.
package final class LineFile {
    /// As the caller named it.
    package let name: String
    private let descriptor: Int32
    private let path: String
    /// Whether lines can be taken back; the null device takes everything.
    private let isRegular: Bool
    private let isNew: Bool
    /// Bytes of whole lines.
    private var length: Int

    /// Opens a file, or makes it.
    /// - Parameters:
    ///   - inputs: what must not be written to
    ///   - keeping: whether it may hold something already
    /// - Throws: `OutputError` for what is no regular file, is read or written by others, or holds something.
    package init(_ name: String, inputs: [FileIdentity] = [], keeping: Bool) throws(OutputError) {
        self.name = name
        guard !name.isEmpty else { throw OutputError(name, "the name is empty", advice: "name a file") }
        path = try resolvingLinks(name)
        var information = stat()
        let exists = stat(path, &information) == 0
        var null = stat()
        let isNull =
            exists && information.st_mode & S_IFMT == S_IFCHR && stat("/dev/null", &null) == 0
            && null.st_rdev == information.st_rdev
        if exists, !isNull { try Self.check(information, name, inputs) }
        isRegular = !isNull
        isNew = !exists
        var descriptor: Int32
        repeat {
            descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
        } while descriptor < 0 && errno == EINTR
        guard descriptor >= 0 else {
            let reason = SystemReason.last
            throw OutputError(name, exists ? reason : OutputFile.folderReason(parent(of: path), reason))
        }
        self.descriptor = descriptor
        length = 0
        guard isRegular else { return }
        // The lock is the process's as long as the file is open.
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let reason: SystemReason = errno == EWOULDBLOCK ? "another process writes to it" : .last
            throw OutputError(name, reason, advice: "wait for that process, or choose another name")
        }
        guard fstat(descriptor, &information) == 0 else { throw OutputError(name, .last) }
        length = Int(information.st_size)
        guard keeping || length == 0 else {
            throw OutputError(
                name, "it holds something already",
                advice: "go on with it by --resume, remove it, or choose another name")
        }
    }

    deinit { close(descriptor) }

    private static func check(
        _ information: stat, _ name: String, _ inputs: [FileIdentity]
    ) throws(OutputError) {
        switch information.st_mode & S_IFMT {
        case S_IFREG: break
        case S_IFDIR: throw OutputError(name, "it is a folder", advice: "name a file in it")
        default:
            throw OutputError(name, "it is not a regular file", advice: "write to stdout with '-' instead")
        }
        guard !inputs.contains(FileIdentity(information)) else {
            throw OutputError(name, "it is the file that is read", advice: "choose another name")
        }
    }

    /// The lines that stand in the file, from its beginning.
    package func lines(limit: Int) throws(OutputError) -> LineReader {
        guard !isRegular || lseek(descriptor, 0, SEEK_SET) == 0 else { throw OutputError(name, .last) }
        return LineReader(descriptor: descriptor, limit: limit)
    }

    /// Takes away all bytes behind `offset`.
    package func cut(to offset: Int) throws(OutputError) {
        guard isRegular, offset < length else { return }
        guard ftruncate(descriptor, off_t(offset)) == 0 else { throw OutputError(name, .last) }
        length = offset
    }

    /// Adds bytes that end in a line's end: all of them or none.
    package func append(_ bytes: UnsafeRawBufferPointer) throws(OutputError) {
        guard !isRegular || lseek(descriptor, off_t(length), SEEK_SET) >= 0 else {
            throw OutputError(name, .last)
        }
        var written = 0
        while written < bytes.count {
            let count = write(descriptor, bytes.baseAddress.map { $0 + written }, bytes.count - written)
            if count < 0 {
                if errno == EINTR { continue }
                let reason = SystemReason.last
                if isRegular { _ = ftruncate(descriptor, off_t(length)) }
                throw OutputError(name, reason)
            }
            written += count
        }
        length += bytes.count
    }

    /// Brings the lines to the disk.
    package func synchronize() throws(OutputError) {
        guard isRegular, fsync(descriptor) != 0, errno != EINVAL else { return }
        throw OutputError(name, .last)
    }

    /// Removes a file that was made here and holds nothing: the work did not begin.
    package func discardIfUnused() {
        if isNew, isRegular, length == 0 { unlink(path) }
    }
}

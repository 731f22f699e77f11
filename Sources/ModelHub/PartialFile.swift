internal import SystemFiles

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The beginning of a file that is being downloaded, hashed while it grows. What a process leaves is the next one's
/// beginning: it holds the first bytes of the file, never others.
final class PartialFile {
    let path: String
    private let file: RepositoryFile
    private let descriptor: Int32
    private var hasher: ContentHasher
    /// Bytes that are there.
    private(set) var count = 0
    /// How many of them an earlier process left.
    private(set) var resumedBytes = 0
    private(set) var fault: HubError?

    /// Opens what is there, and hashes it.
    init(_ path: String, _ file: RepositoryFile, _ cancellation: Cancellation) throws {
        self.path = path
        self.file = file
        try System.makeFolders(parent(of: path))
        hasher = try ContentHasher(file.hash, size: file.size)
        let flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW
        #if canImport(Darwin)
            descriptor = Darwin.open(path, flags, 0o666)
        #elseif canImport(Musl)
            descriptor = Musl.open(path, flags, 0o666)
        #else
            descriptor = Glibc.open(path, flags, 0o666)
        #endif
        guard descriptor >= 0 else { throw System.fault("cannot write '\(path)'") }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw HubError(.storage, "'\(path)' is not a regular file; remove it and try again")
        }
        if Int(status.st_size) > file.size { try restart() }
        try readWhatIsThere(cancellation)
    }

    deinit { close(descriptor) }

    var isComplete: Bool { count == file.size }

    private func readWhatIsThere(_ cancellation: Cancellation) throws {
        while true {
            try cancellation.check()
            let part: [UInt8]
            do { part = try BoundedFile.part(descriptor: descriptor) } catch {
                throw HubError(.storage, "cannot read '\(path)': \(error.reason); remove it and try again")
            }
            if part.isEmpty { break }
            part.withUnsafeBytes { hasher.add($0) }
            count += part.count
        }
        resumedBytes = count
    }

    /// Throws away what is there.
    func restart() throws {
        guard ftruncate(descriptor, 0) == 0, lseek(descriptor, 0, SEEK_SET) == 0 else {
            throw System.fault("cannot write '\(path)'")
        }
        (count, resumedBytes) = (0, 0)
        hasher = try ContentHasher(file.hash, size: file.size)
    }

    /// - Returns: whether more may come; if not, ``fault`` or too many bytes are why.
    func append(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count <= file.size - count else { return false }
        var rest = bytes
        while let base = rest.baseAddress, !rest.isEmpty {
            let written = write(descriptor, base, rest.count)
            if written < 0 {
                if errno == EINTR { continue }
                fault = System.fault("cannot write '\(path)'")
                return false
            }
            hasher.add(UnsafeRawBufferPointer(rebasing: rest[..<written]))
            count += written
            rest = UnsafeRawBufferPointer(rebasing: rest[written...])
        }
        return true
    }

    /// Gives the complete file its name.
    /// - Returns: false for wrong bytes, which are thrown away.
    func finish(as name: String) throws -> Bool {
        guard hasher.finish() == file.hash else {
            try restart()
            return false
        }
        guard fsync(descriptor) == 0 || [EINVAL, EROFS, ENOTSUP].contains(errno) else {
            throw System.fault("cannot write '\(path)'")
        }
        try System.rename(path, to: name)
        return true
    }

    func discard() { unlink(path) }
}

internal import SystemFiles

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The calls of the system that downloads need, with its reasons in words.
enum System {
    struct Information {
        let isFolder: Bool
        let isFile: Bool
        let isLink: Bool
        let size: Int
        /// Seconds since 1970.
        let modified: Double
        /// Bytes on the disk, of which a file with holes has fewer.
        let allocated: Int
    }

    /// - Returns: nil when there is nothing.
    static func information(_ path: String, followsLinks: Bool = true) -> Information? {
        var result = stat()
        guard (followsLinks ? stat(path, &result) : lstat(path, &result)) == 0 else { return nil }
        #if canImport(Darwin)
            let time = result.st_mtimespec
        #else
            let time = result.st_mtim
        #endif
        return Information(
            isFolder: result.st_mode & S_IFMT == S_IFDIR, isFile: result.st_mode & S_IFMT == S_IFREG,
            isLink: result.st_mode & S_IFMT == S_IFLNK, size: Int(result.st_size),
            modified: Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9,
            allocated: Int(result.st_blocks) * 512)
    }

    static func linkTarget(_ path: String) -> String? {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = buffer.withUnsafeMutableBytes { bytes in
            bytes.baseAddress.map { readlink(path, $0.assumingMemoryBound(to: CChar.self), bytes.count) }
                ?? -1
        }
        return count >= 0 ? String(decoding: buffer.prefix(count), as: UTF8.self) : nil
    }

    /// Makes a folder and those that it is in.
    static func makeFolders(_ path: String) throws(HubError) {
        if information(path)?.isFolder == true { return }
        let folder = parent(of: path)
        if folder != path, folder != "." { try makeFolders(folder) }
        guard mkdir(path, 0o777) == 0 || errno == EEXIST && information(path)?.isFolder == true else {
            throw fault("cannot make the folder '\(path)'")
        }
    }

    static func rename(_ old: String, to new: String) throws(HubError) {
        #if canImport(Darwin)
            let status = Darwin.rename(old, new)
        #elseif canImport(Musl)
            let status = Musl.rename(old, new)
        #else
            let status = Glibc.rename(old, new)
        #endif
        guard status == 0 else { throw fault("cannot write '\(new)'") }
        synchronizeFolder(of: new)
    }

    /// A symbolic link, in place of one that is there.
    static func link(_ path: String, to target: String) throws(HubError) {
        let temporary = "\(parent(of: path))/.fastvlm-\(getpid()).link"
        unlink(temporary)
        guard symlink(target, temporary) == 0 else { throw fault("cannot make the link '\(path)'") }
        do { try rename(temporary, to: path) } catch {
            unlink(temporary)
            throw error
        }
    }

    /// A small file, whole or not at all.
    static func write(_ text: String, to path: String) throws(HubError) {
        do {
            try OutputFile(path).write { writer throws(OutputError) in try writer.write(Array(text.utf8)) }
        } catch {
            throw HubError(.storage, "\(error)")
        }
    }

    /// The beginning of a small file; nil when it cannot be read.
    static func text(_ path: String, limit: Int = 4096) -> String? {
        (try? BoundedFile.read(path, limit: limit, regularOnly: true)).map {
            String(decoding: $0, as: UTF8.self)
        }
    }

    /// Free bytes for this user; nil where the file system does not count them.
    static func availableBytes(_ path: String) -> Int? {
        var folder = path
        while information(folder)?.isFolder != true, folder != "/", folder != "." {
            folder = parent(of: folder)
        }
        var result = statvfs()
        guard statvfs(folder, &result) == 0, result.f_blocks > 0 else { return nil }
        let (bytes, overflow) = Int(clamping: result.f_bavail).multipliedReportingOverflow(
            by: Int(clamping: result.f_frsize))
        return overflow ? nil : bytes
    }

    /// - Parameter what: the beginning of a sentence whose end is the system's reason.
    static func fault(_ what: String) -> HubError {
        let reason = SystemReason.last
        return HubError(
            .storage, "\(what): \(reason); \(reason.advice ?? "choose another place (HF_HUB_CACHE)")")
    }
}

/// Waits, but not for longer than somebody wants to.
func pause(_ duration: Duration, _ cancellation: Cancellation) throws {
    let end = ContinuousClock.now + duration
    while ContinuousClock.now < end {
        try cancellation.check()
        usleep(UInt32(max(0, min((end - .now) / .microseconds(1), 50_000))))
    }
    try cancellation.check()
}

/// Holds a lock file as the Python client does (`flock`), which is left behind.
final class FileLock {
    private let descriptor: Int32

    /// Waits for whoever holds it.
    /// - Parameter waiting: told once when somebody does
    init(_ path: String, _ cancellation: Cancellation, waiting: () -> Void = {}) throws {
        try System.makeFolders(parent(of: path))
        #if canImport(Darwin)
            descriptor = Darwin.open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o664)
        #elseif canImport(Musl)
            descriptor = Musl.open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o664)
        #else
            descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o664)
        #endif
        guard descriptor >= 0 else { throw System.fault("cannot lock '\(path)'") }
        var hasSaid = false
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            // File systems without locks: the hash at the end finds what another process might spoil.
            guard errno == EWOULDBLOCK || errno == EINTR else { break }
            if !hasSaid { waiting() }
            hasSaid = true
            try pause(.milliseconds(100), cancellation)
        }
    }

    deinit { close(descriptor) }

    /// Whether another process holds a lock.
    static func isHeld(_ path: String) -> Bool {
        #if canImport(Darwin)
            let descriptor = Darwin.open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW)
        #elseif canImport(Musl)
            let descriptor = Musl.open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW)
        #else
            let descriptor = Glibc.open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW)
        #endif
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        return flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK
    }
}

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

    // MARK: Removing

    /// Removes a folder with all that is in it, links themselves and never what they lead to. Nothing happens where there is
    /// none.
    /// - Parameter root: a folder of the same file system, where what is being removed waits for it
    static func remove(folder: String, in root: String) throws(HubError) {
        if information(folder, followsLinks: false)?.isFolder == true {
            // Renamed first: nobody finds half a model, and whoever downloads it just now makes a new one.
            let number = UInt32.random(in: 0...UInt32.max)
            try rename(folder, to: "\(root)/\(removedPrefix)\(getpid())-\(number)")
        }
        // Those included that a process left which was killed. Another one that removes them too is no obstacle.
        for name in (try? BoundedFile.names(inFolder: root)) ?? [] where name.hasPrefix(removedPrefix) {
            try removeTree("\(root)/\(name)", depth: 0)
        }
    }

    private static let removedPrefix = ".fastvlm-removed-"

    private static func removeTree(_ path: String, depth: Int) throws(HubError) {
        guard depth < 32 else {
            throw HubError(.storage, "'\(path)' is nested too deeply; remove it by hand")
        }
        for name in (try? BoundedFile.names(inFolder: path)) ?? [] {
            let inner = "\(path)/\(name)"
            if information(inner, followsLinks: false)?.isFolder == true {
                try removeTree(inner, depth: depth + 1)
            } else {
                try remove(file: inner)
            }
        }
        guard rmdir(path) == 0 || errno == ENOENT else { throw fault("cannot remove '\(path)'") }
    }

    /// Nothing happens where there is no such file.
    static func remove(file: String) throws(HubError) {
        guard unlink(file) == 0 || errno == ENOENT else { throw fault("cannot remove '\(file)'") }
    }

    // MARK: Open files

    static func close(_ descriptor: Int32) {
        #if canImport(Darwin)
            _ = Darwin.close(descriptor)
        #elseif canImport(Musl)
            _ = Musl.close(descriptor)
        #else
            _ = Glibc.close(descriptor)
        #endif
    }

    /// Opens a regular file that is there, or makes one, and the folders that it is in.
    /// - Parameter exclusively: whether it must not be there
    static func openForWriting(_ path: String, exclusively: Bool = false) throws(HubError) -> Int32 {
        try makeFolders(parent(of: path))
        let flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (exclusively ? O_EXCL : 0)
        #if canImport(Darwin)
            let descriptor = Darwin.open(path, flags, 0o666)
        #elseif canImport(Musl)
            let descriptor = Musl.open(path, flags, 0o666)
        #else
            let descriptor = Glibc.open(path, flags, 0o666)
        #endif
        guard descriptor >= 0 else { throw fault("cannot write '\(path)'") }
        return descriptor
    }

    /// - Throws: for what is no regular file.
    static func size(_ descriptor: Int32, _ path: String) throws(HubError) -> Int {
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw HubError(.storage, "'\(path)' is not a regular file; remove it and try again")
        }
        return Int(status.st_size)
    }

    /// Writes all bytes at a place of a file.
    static func write(
        _ bytes: UnsafeRawBufferPointer, at place: Int, _ descriptor: Int32, _ path: String
    ) throws(HubError) {
        var written = 0
        while written < bytes.count {
            let count = pwrite(
                descriptor, bytes.baseAddress?.advanced(by: written), bytes.count - written,
                off_t(place + written))
            guard count > 0 || errno == EINTR else { throw fault("cannot write '\(path)'") }
            written += max(count, 0)
        }
    }

    /// Writes numbers of 64 bits, little-endian, at a place of a file.
    static func write(
        _ numbers: [Int], at place: Int, _ descriptor: Int32, _ path: String
    ) throws(HubError) {
        let result = numbers.map(\.littleEndian).withUnsafeBytes { bytes in
            Result { () throws(HubError) in try write(bytes, at: place, descriptor, path) }
        }
        try result.get()
    }

    /// Bytes at a place of a file; nil where there are fewer.
    static func bytes(_ count: Int, at place: Int, _ descriptor: Int32) -> [UInt8]? {
        var isThere = true
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count, isThere {
                let part = pread(
                    descriptor, buffer.baseAddress?.advanced(by: filled), count - filled,
                    off_t(place + filled))
                isThere = part > 0 || part < 0 && errno == EINTR
                filled += max(part, 0)
            }
        }
        return isThere ? bytes : nil
    }

    /// Numbers of 64 bits, little-endian, at a place of a file; nil where there are fewer.
    static func numbers(_ count: Int, at place: Int, _ descriptor: Int32) -> [Int]? {
        bytes(8 * count, at: place, descriptor)?.withUnsafeBytes { bytes in
            (0..<count).map { Int(littleEndian: bytes.loadUnaligned(fromByteOffset: 8 * $0, as: Int.self)) }
        }
    }

    /// - Returns: nil when it cannot be opened.
    static func openForReading(_ path: String) -> Int32? {
        #if canImport(Darwin)
            let descriptor = Darwin.open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        #elseif canImport(Musl)
            let descriptor = Musl.open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        #else
            let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        #endif
        return descriptor >= 0 ? descriptor : nil
    }

    /// Brings a file to the disk, where its file system does so.
    static func synchronize(_ descriptor: Int32, _ path: String) throws(HubError) {
        guard fsync(descriptor) == 0 || [EINVAL, EROFS, ENOTSUP].contains(errno) else {
            throw fault("cannot write '\(path)'")
        }
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

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// A file that is going to be written: checked before any work is done, complete or untouched afterwards.
///
/// A regular file or a name that is still free is written under a temporary name in the same folder and renamed at
/// the end. A symbolic link is followed: its target is replaced and the link stays. `-`, `/dev/stdout` and
/// `/dev/fd/N` are streams of this process, and the null device takes everything. All else is refused: folders, other
/// devices, pipes and sockets in the file system, and what the work itself reads.
package struct OutputFile: Sendable {
    private enum Place: Sendable {
        case descriptor(Int32)
        case nullDevice
        /// Permissions and owner of the file that is replaced, if there is one.
        case file(path: String, replaces: Replaced?)
    }

    private struct Replaced: Sendable {
        let mode: UInt32
        let owner: UInt32
        let group: UInt32
    }

    /// As the caller named it.
    package let name: String
    private let place: Place

    /// Looks at everything that can be seen before writing; makes and removes a file in the target's folder to see
    /// whether that can be done.
    /// - Parameters:
    ///   - name: a path, or `-` for stdout
    ///   - isText: whether it may go to a terminal
    ///   - inputs: what must not be replaced
    package init(_ name: String, isText: Bool = false, inputs: [FileIdentity] = []) throws(OutputError) {
        self.name = name
        let path = name == "-" ? name : try resolvingLinks(name)
        if let descriptor = Self.stream(path) {
            try Self.check(descriptor, name, isText: isText)
            place = .descriptor(descriptor)
        } else {
            place = try Self.place(of: path, name, inputs)
        }
    }

    /// Whether it is this process's stdout.
    package var isStandardOutput: Bool {
        if case .descriptor(STDOUT_FILENO) = place { true } else { false }
    }

    /// Writes what `body` writes. When it throws, what stood at the name still stands there.
    package func write(
        isCancelled: @escaping () -> Bool = { false },
        _ body: (borrowing OutputWriter) throws(OutputError) -> Void
    ) throws(OutputError) {
        switch place {
        case .descriptor(let descriptor):
            try body(OutputWriter(descriptor, name: name, isCancelled: isCancelled))
        case .nullDevice:
            let descriptor = open("/dev/null", O_WRONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw OutputError(name, .last) }
            defer { close(descriptor) }
            try body(OutputWriter(descriptor, name: name, isCancelled: isCancelled))
        case .file(let path, let replaced):
            let temporary = try Self.makeTemporary(
                beside: path, name: name, mode: replaced.map { $0.mode & 0o600 } ?? 0o666)
            do throws(OutputError) {
                defer { close(temporary.descriptor) }
                let writer = OutputWriter(temporary.descriptor, name: name, isCancelled: isCancelled)
                try body(writer)
                if let replaced {
                    // The owner can be kept by the superuser only; failing that, the file is ours.
                    _ = fchown(temporary.descriptor, replaced.owner, replaced.group)
                    _ = fchmod(temporary.descriptor, mode_t(replaced.mode & 0o7777))
                }
                try writer.synchronize()
            } catch {
                unlink(temporary.path)
                throw error
            }
            guard rename(temporary.path, path) == 0 else {
                let reason = SystemReason.last
                unlink(temporary.path)
                throw OutputError(name, reason)
            }
            synchronizeFolder(of: path)
        }
    }

    // MARK: - Looking at the target

    /// The descriptor that a name stands for, if it is one of this process's streams.
    static func stream(_ name: String) -> Int32? {
        switch name {
        case "-", "/dev/stdout": return STDOUT_FILENO
        case "/dev/stderr": return STDERR_FILENO
        default: break
        }
        for prefix in ["/dev/fd/", "/proc/self/fd/"] where name.hasPrefix(prefix) {
            return Int32(name.dropFirst(prefix.count))
        }
        return nil
    }

    private static func check(_ descriptor: Int32, _ name: String, isText: Bool) throws(OutputError) {
        let flags = fcntl(descriptor, F_GETFL)
        guard flags >= 0 else { throw OutputError(name, .last) }
        guard flags & O_ACCMODE != O_RDONLY else {
            throw OutputError(name, "the stream is open for reading only")
        }
        if !isText, isatty(descriptor) == 1 {
            throw OutputError(
                name, "it is a terminal, and the output is not text", advice: "send it into a file or a pipe")
        }
    }

    private static func place(
        of path: String, _ name: String, _ inputs: [FileIdentity]
    ) throws(OutputError) -> Place {
        guard !name.isEmpty else { throw OutputError(name, "the name is empty", advice: "name a file") }
        var information = stat()
        if lstat(path, &information) == 0 {
            switch information.st_mode & S_IFMT {
            case S_IFREG: break
            case S_IFDIR: throw OutputError(name, "it is a folder", advice: "name a file in it")
            case S_IFCHR:
                var null = stat()
                if stat("/dev/null", &null) == 0, null.st_rdev == information.st_rdev { return .nullDevice }
                throw OutputError(name, "it is a device")
            case S_IFBLK: throw OutputError(name, "it is a device")
            case S_IFIFO:
                throw OutputError(name, "it is a named pipe", advice: "write to stdout with '-' instead")
            default: throw OutputError(name, "it is not a regular file")
            }
            guard !inputs.contains(FileIdentity(information)) else {
                throw OutputError(name, "it is the file that is read", advice: "choose another name")
            }
            guard access(path, W_OK) == 0 else { throw OutputError(name, .last) }
            guard !isMountPoint(path) else {
                throw OutputError(
                    name, "it is a mount point", advice: "mount its folder, or write to stdout with '-o -'")
            }
            try probe(path, name)
            return .file(
                path: path,
                replaces: Replaced(
                    mode: UInt32(information.st_mode), owner: information.st_uid, group: information.st_gid))
        }
        guard errno == ENOENT else { throw OutputError(name, .last) }
        guard path.last != "/" else {
            throw OutputError(name, "it ends in a slash", advice: "name a file in that folder")
        }
        try probe(path, name)
        return .file(path: path, replaces: nil)
    }

    /// Sees whether a file can be made in the target's folder.
    private static func probe(_ path: String, _ name: String) throws(OutputError) {
        let temporary = try makeTemporary(beside: path, name: name, mode: 0o600)
        close(temporary.descriptor)
        unlink(temporary.path)
    }

    /// A new file in the folder of `path`, under a name that nothing has yet.
    /// - Parameter mode: for a file that replaces another only its owner's: nobody else may read it before it is done
    private static func makeTemporary(
        beside path: String, name: String, mode: UInt32
    ) throws(OutputError) -> (path: String, descriptor: Int32) {
        let folder = parent(of: path)
        var attempt = 0
        while true {
            // Short, so that a target whose name is as long as a name may be can be written too.
            let temporary = "\(folder)/.fastvlm-\(getpid())-\(attempt).partial"
            let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode_t(mode))
            if descriptor >= 0 { return (temporary, descriptor) }
            guard errno == EEXIST, attempt < 1000 else {
                throw OutputError(name, folderReason(folder, .last))
            }
            attempt += 1
        }
    }

    /// What is wrong with a folder in which no file can be made.
    static func folderReason(_ folder: String, _ reason: SystemReason) -> SystemReason {
        switch reason.code {
        case ENOENT?, ENOTDIR?: "there is no folder '\(folder)'"
        case EACCES?, EPERM?: "no permission to make files in '\(folder)'"
        case EROFS?: "'\(folder)' is on a read-only file system"
        default: reason
        }
    }
}

/// The folder that a path is in.
package func parent(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
}

/// The path that a chain of symbolic links ends at, which need not exist. Links in its folders are left to the system.
func resolvingLinks(_ name: String) throws(OutputError) -> String {
    var path = name
    for _ in 0..<40 {
        var information = stat()
        guard OutputFile.stream(path) == nil, lstat(path, &information) == 0,
            information.st_mode & S_IFMT == S_IFLNK
        else { return path }
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
        let count = readlink(path, &buffer, buffer.count)
        guard count >= 0 else { throw OutputError(name, .last) }
        let target = String(decoding: buffer.prefix(count).map(UInt8.init(bitPattern:)), as: UTF8.self)
        path = target.hasPrefix("/") ? target : "\(parent(of: path))/\(target)"
    }
    throw OutputError(name, SystemReason(ELOOP))
}

/// Brings a rename to the disk; file systems that cannot are left alone.
package func synchronizeFolder(of path: String) {
    let folder = open(parent(of: path), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard folder >= 0 else { return }
    fsync(folder)
    close(folder)
}

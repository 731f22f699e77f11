#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// A folder of files that is going to be written: checked before any work is done, and there as a whole or not at all.
///
/// The files are written into `.NAME.fastvlm-partial` beside the target, which is renamed at the end. In it, the file
/// `unfinished` names what was written, and is locked as long as the writer lives: so what a killed writer left is
/// recognised and removed by the next one, and nothing else is.
package final class OutputFolder {
    /// The file that marks an unfinished folder.
    private static let marker = "unfinished"
    private static let heading = "fastvlm quantize did not finish this folder; it may be deleted.\n"

    /// As the caller named it.
    package let name: String
    /// Where the folder will be, links resolved.
    private let target: String
    private let partial: String
    /// The marker's descriptor, which holds its lock.
    private let lock: Int32
    private var written: [String] = []
    private var isDone = false
    /// Permissions of the empty folder that is replaced.
    private let mode: UInt32?

    /// - Parameters:
    ///   - name: must be free, or an empty folder
    ///   - source: the folder that is read; the target may be neither it nor in it
    package init(_ name: String, source: String) throws(OutputError) {
        self.name = name
        (target, mode) = try Self.check(name, source: source)
        let folder = parent(of: target)
        let last = target.split(separator: "/").last.map(String.init) ?? target
        partial = "\(folder)/.\(Self.shortened(last)).fastvlm-partial"
        lock = try Self.make(partial, name)
    }

    deinit { if !isDone { discard() } }

    /// A name that leaves room for what is put around it, also where names may have 143 bytes only (eCryptfs): a long
    /// one is cut, and the hash of all of it (FNV-1a) keeps it apart from others that begin alike.
    private static func shortened(_ name: String) -> String {
        guard name.utf8.count > 100 else { return name }
        var beginning = ""
        for character in name {
            guard beginning.utf8.count + character.utf8.count <= 80 else { break }
            beginning.append(character)
        }
        let hash = name.utf8.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        return "\(beginning)-\(String(hash, radix: 16))"
    }

    // MARK: - Before the work

    private static func check(
        _ name: String, source: String
    ) throws(OutputError) -> (target: String, mode: UInt32?) {
        var trimmed = name
        while trimmed.count > 1, trimmed.last == "/" { trimmed.removeLast() }
        guard !trimmed.isEmpty else { throw OutputError(name, "the name is empty", advice: "name a folder") }
        let path = try resolvingLinks(trimmed)
        var information = stat()
        var mode: UInt32?
        if lstat(path, &information) == 0 {
            guard information.st_mode & S_IFMT == S_IFDIR else {
                throw OutputError(name, "it is a file, not a folder", advice: "choose another name")
            }
            guard try isEmpty(path, name) else {
                throw OutputError(name, "the folder is not empty", advice: "choose another name, or empty it")
            }
            if isMountPoint(path) {
                throw OutputError(name, "it is a mount point", advice: "name a new folder in it")
            }
            mode = UInt32(information.st_mode)
        } else if errno != ENOENT {
            throw OutputError(name, .last)
        }
        let folder = parent(of: path)
        guard let real = realPath(folder) else {
            throw OutputError(name, OutputFile.folderReason(folder, .last))
        }
        if let source = realPath(source), "\(real)/".hasPrefix("\(source)/") {
            throw OutputError(
                name, "it is inside the checkpoint that is read", advice: "name a folder beside it")
        }
        return (path, mode)
    }

    private static func isEmpty(_ path: String, _ name: String) throws(OutputError) -> Bool {
        guard let folder = opendir(path) else { throw OutputError(name, .last) }
        defer { closedir(folder) }
        var count = 0
        while readdir(folder) != nil { count += 1 }
        return count <= 2  // itself and its parent
    }

    /// Makes the unfinished folder with its locked marker, in place of one that a killed writer left.
    private static func make(_ partial: String, _ name: String) throws(OutputError) -> Int32 {
        let folder = parent(of: partial)
        if mkdir(partial, 0o777) != 0 {
            guard errno == EEXIST else { throw OutputError(name, OutputFile.folderReason(folder, .last)) }
            try removeLeftover(partial, name)
            guard mkdir(partial, 0o777) == 0 else {
                throw OutputError(name, OutputFile.folderReason(folder, .last))
            }
        }
        let descriptor = Self.open("\(partial)/\(marker)", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC)
        guard descriptor >= 0, flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let reason = SystemReason.last
            if descriptor >= 0 { close(descriptor) }
            unlink("\(partial)/\(marker)")
            rmdir(partial)
            throw OutputError(name, reason)
        }
        do {
            try OutputWriter(descriptor, name: name, isCancelled: { false }).write(Array(heading.utf8))
        } catch {
            unlink("\(partial)/\(marker)")
            rmdir(partial)
            close(descriptor)
            throw error
        }
        return descriptor
    }

    private static func open(_ path: String, _ flags: Int32) -> Int32 {
        #if canImport(Darwin)
            Darwin.open(path, flags, 0o666)
        #elseif canImport(Musl)
            Musl.open(path, flags, 0o666)
        #else
            Glibc.open(path, flags, 0o666)
        #endif
    }

    /// Removes what a killed writer left: the files that its marker names, and nothing else.
    private static func removeLeftover(_ partial: String, _ name: String) throws(OutputError) {
        let foreign = OutputError(
            name, "'\(partial)' is in the way and is not of this program", advice: "remove it")
        var information = stat()
        // A link would lead to a folder of somebody else.
        guard lstat(partial, &information) == 0, information.st_mode & S_IFMT == S_IFDIR else {
            throw foreign
        }
        let path = "\(partial)/\(marker)"
        let descriptor = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW)
        if descriptor >= 0 {
            defer { close(descriptor) }
            guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
                throw OutputError(
                    name, "another process is writing it", advice: "wait for it, or choose another name")
            }
            guard let names = names(descriptor) else { throw foreign }
            for file in names { unlink("\(partial)/\(file)") }
            unlink(path)
        }
        guard rmdir(partial) == 0 else {
            throw OutputError(
                name, "'\(partial)' is in the way and holds other files", advice: "look into it and remove it"
            )
        }
    }

    /// What a marker names; nil for a file that is no marker.
    private static func names(_ descriptor: Int32) -> [String]? {
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        let count = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, 0) }
        guard count >= 0 else { return nil }
        let text = String(decoding: bytes.prefix(count), as: UTF8.self)
        // A writer that was killed at once may not have written the heading.
        guard text.hasPrefix(heading) || heading.hasPrefix(text) else { return nil }
        return text.dropFirst(heading.count).split(separator: "\n").map(String.init)
            .filter { !$0.contains("/") && $0 != ".." }
    }

    // MARK: - The work

    /// - Throws: when the file system has less room than `bytes`. One that counts no blocks is believed to have it.
    package func checkRoom(for bytes: Int) throws(OutputError) {
        var information = statvfs()
        guard statvfs(partial, &information) == 0, information.f_blocks > 0 else { return }
        let (free, overflow) = Int(clamping: information.f_bavail).multipliedReportingOverflow(
            by: Int(clamping: information.f_frsize))
        guard overflow || free >= bytes else {
            throw OutputError(
                name,
                "about \(Self.megabytes(bytes)) are needed and \(Self.megabytes(free)) are free",
                advice: "make room or choose another place")
        }
    }

    private static func megabytes(_ bytes: Int) -> String {
        bytes < 10_000_000 ? "\((bytes + 999) / 1000) kB" : "\((bytes + 999_999) / 1_000_000) MB"
    }

    /// Writes one file of the folder.
    package func write(
        _ file: String, isCancelled: @escaping () -> Bool = { false },
        _ body: (borrowing OutputWriter) throws(OutputError) -> Void
    ) throws(OutputError) {
        // Named before it is made, so that whoever finds it knows whose it is.
        let marker = OutputWriter(lock, name: name, isCancelled: { false })
        try marker.write(Array("\(file)\n".utf8))
        written.append(file)
        let descriptor = Self.open("\(partial)/\(file)", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC)
        guard descriptor >= 0 else { throw OutputError("\(name)/\(file)", .last) }
        defer { close(descriptor) }
        let writer = OutputWriter(descriptor, name: "\(name)/\(file)", isCancelled: isCancelled)
        try body(writer)
        try writer.synchronize()
    }

    /// Gives the folder its name.
    package func finish() throws(OutputError) {
        if let mode { _ = chmod(partial, mode_t(mode & 0o7777)) }
        guard rename(partial, target) == 0 else { throw OutputError(name, .last) }
        isDone = true
        unlink("\(target)/\(Self.marker)")
        close(lock)
        synchronizeFolder(of: target)
    }

    /// Removes what was written.
    private func discard() {
        for file in written { unlink("\(partial)/\(file)") }
        unlink("\(partial)/\(Self.marker)")
        rmdir(partial)
        close(lock)
    }
}

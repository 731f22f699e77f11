#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Reading files of a bounded size, with the system's reason when it fails.
package enum BoundedFile {
    package struct ReadError: Error, Sendable, Hashable {
        package let reason: SystemReason
        /// The bytes of a file that has more than the limit, or what was read of a pipe; nil for other reasons.
        package let size: Int?

        package var isTooLarge: Bool { size != nil }

        init(_ reason: SystemReason, size: Int? = nil) {
            self.reason = reason
            self.size = size
        }
    }

    /// All bytes of a file or pipe, up to `limit`.
    /// - Parameter regularOnly: refuse pipes and devices, which may never end.
    package static func read(
        _ path: String, limit: Int, regularOnly: Bool = false
    ) throws(ReadError) -> [UInt8] {
        try read(pathBytes: Array(path.utf8CString), limit: limit, regularOnly: regularOnly)
    }

    /// - Parameter path: any bytes but 0, and a 0 at the end.
    package static func read(
        pathBytes path: [CChar], limit: Int, regularOnly: Bool = false
    ) throws(ReadError) -> [UInt8] {
        // Opening a pipe would wait for its other end.
        let descriptor = try opened(path, regularOnly ? O_NONBLOCK : 0)
        defer { close(descriptor) }
        if regularOnly {
            var information = stat()
            guard fstat(descriptor, &information) == 0 else { throw ReadError(.last) }
            guard information.st_mode & S_IFMT == S_IFREG else { throw ReadError("it is not a regular file") }
        }
        return try read(descriptor: descriptor, limit: limit)
    }

    private static func opened(_ path: [CChar], _ flags: Int32) throws(ReadError) -> Int32 {
        var descriptor: Int32
        repeat {
            descriptor = open(path, O_RDONLY | O_CLOEXEC | flags)
        } while descriptor < 0 && errno == EINTR
        guard descriptor >= 0 else { throw ReadError(.last) }
        return descriptor
    }

    /// All bytes of a pipe or device, up to `limit`. Waits for its writer without holding a thread.
    /// - Parameter path: any bytes but 0, and a 0 at the end.
    /// - Throws: ``ReadError``, `CancellationError`.
    package static func readStream(pathBytes path: [CChar], limit: Int) async throws -> [UInt8] {
        let descriptor = try opened(path, O_NONBLOCK)
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        while true {
            try Task.checkCancellation()
            var state = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&state, 1, 0) > 0, let part = try partIfAny(descriptor: descriptor) else {
                try await Task.sleep(for: .milliseconds(2))
                continue
            }
            if part.isEmpty { return bytes }
            guard part.count <= limit - bytes.count else {
                throw ReadError("it has more than \(limit) bytes", size: bytes.count + part.count)
            }
            bytes += part
        }
    }

    /// - Returns: nil when nothing has come yet.
    private static func partIfAny(descriptor: Int32) throws(ReadError) -> [UInt8]? {
        do {
            return try part(descriptor: descriptor)
        } catch {
            if error.reason.code == EAGAIN { return nil }
            throw error
        }
    }

    /// All bytes up to the end of an open file or pipe.
    package static func read(descriptor: Int32, limit: Int) throws(ReadError) -> [UInt8] {
        func tooLarge(_ size: Int) -> ReadError { ReadError("it has more than \(limit) bytes", size: size) }
        var bytes: [UInt8] = []
        var information = stat()
        if fstat(descriptor, &information) == 0, information.st_mode & S_IFMT == S_IFREG {
            guard information.st_size <= limit else { throw tooLarge(Int(information.st_size)) }
            bytes.reserveCapacity(max(Int(information.st_size), 0))
        }
        while true {
            let part = try part(descriptor: descriptor)
            if part.isEmpty { return bytes }
            guard part.count <= limit - bytes.count else { throw tooLarge(bytes.count + part.count) }
            bytes += part
        }
    }

    /// The next bytes of an open file or pipe, as many as come at once; none at its end.
    package static func part(descriptor: Int32) throws(ReadError) -> [UInt8] {
        var count = 0
        let part = [UInt8](unsafeUninitializedCapacity: 1 << 18) { buffer, filled in
            repeat {
                #if canImport(Darwin)
                    count = Darwin.read(descriptor, buffer.baseAddress, buffer.count)
                #elseif canImport(Musl)
                    count = Musl.read(descriptor, buffer.baseAddress, buffer.count)
                #else
                    count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
                #endif
            } while count < 0 && errno == EINTR
            filled = max(count, 0)
        }
        if count < 0 { throw ReadError(.last) }
        return part
    }

    /// Hands all bytes of a regular file on, part by part, without holding them.
    /// - Parameter take: says whether it wants more.
    /// - Returns: how many bytes it got.
    package static func stream(
        _ path: String, _ take: (UnsafeRawBufferPointer) -> Bool
    ) throws(ReadError) -> Int {
        let descriptor = try opened(Array(path.utf8CString), O_NONBLOCK)
        defer { close(descriptor) }
        var information = stat()
        guard fstat(descriptor, &information) == 0 else { throw ReadError(.last) }
        guard information.st_mode & S_IFMT == S_IFREG else { throw ReadError("it is not a regular file") }
        var count = 0
        while true {
            let part = try part(descriptor: descriptor)
            count += part.count
            guard !part.isEmpty, part.withUnsafeBytes(take) else { return count }
        }
    }

    /// The names in a folder.
    package static func names(inFolder path: String) throws(ReadError) -> [String] {
        try entries(inFolder: path).map(\.name)
    }

    /// Something in a folder.
    package struct FolderEntry: Sendable, Hashable {
        package var name: String
        /// Whether it is a folder itself; a link to one is none.
        package var isFolder: Bool
    }

    /// What is in a folder.
    package static func entries(inFolder path: String) throws(ReadError) -> [FolderEntry] {
        guard let folder = opendir(path) else { throw ReadError(.last) }
        defer { closedir(folder) }
        var entries: [FolderEntry] = []
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard name != ".", name != ".." else { continue }
            var isFolder = Int(entry.pointee.d_type) == Int(DT_DIR)
            if Int(entry.pointee.d_type) == Int(DT_UNKNOWN) {
                // Some file systems leave this to the one who asks.
                var information = stat()
                isFolder =
                    lstat("\(path)/\(name)", &information) == 0
                    && information.st_mode & S_IFMT == S_IFDIR
            }
            entries.append(FolderEntry(name: name, isFolder: isFolder))
        }
        return entries
    }
}

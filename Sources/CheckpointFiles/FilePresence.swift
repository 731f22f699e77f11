package import SystemFiles

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// What stands under a name in a checkpoint folder.
package enum FilePresence: Sendable, Equatable {
    case absent
    /// A file, or a link that leads to one.
    case file
    case folder
    /// A pipe, device or socket.
    case special
    /// A symbolic link that leads nowhere: a store from which the file was removed, or a folder copied without it.
    case brokenLink(target: String)
    /// The system does not say, for a reason in words.
    case unknown(reason: SystemReason)

    package init(path: String) {
        var information = stat()
        guard stat(path, &information) != 0 else {
            switch information.st_mode & S_IFMT {
            case S_IFREG: self = .file
            case S_IFDIR: self = .folder
            default: self = .special
            }
            return
        }
        let code = errno
        if let target = Self.linkTarget(path), code == ENOENT || code == ELOOP || code == ENOTDIR {
            self = .brokenLink(target: target)
        } else if code == ENOENT || code == ENOTDIR {
            self = .absent
        } else {
            self = .unknown(reason: SystemReason(code))
        }
    }

    /// Where a symbolic link leads; nil when the path is none.
    private static func linkTarget(_ path: String) -> String? {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let length = buffer.withUnsafeMutableBytes { target -> Int in
            guard let base = target.baseAddress else { return -1 }
            return readlink(path, base.assumingMemoryBound(to: CChar.self), target.count)
        }
        return length >= 0 ? String(decoding: buffer.prefix(length), as: UTF8.self) : nil
    }
}

/// What tells that a file was changed in place: its size and the time of its last change. A file that was replaced under
/// the same name is another one, and whoever mapped the old one keeps it.
package struct FileStamp: Sendable, Equatable {
    private let device: UInt64
    private let number: UInt64
    private let bytes: Int64
    private let seconds: Int64
    private let nanoseconds: Int64

    /// - Returns: nil when there is no such file.
    package init?(path: String) {
        var information = stat()
        guard stat(path, &information) == 0 else { return nil }
        device = UInt64(information.st_dev)
        number = UInt64(information.st_ino)
        bytes = Int64(information.st_size)
        #if canImport(Darwin)
            seconds = Int64(information.st_mtimespec.tv_sec)
            nanoseconds = Int64(information.st_mtimespec.tv_nsec)
        #else
            seconds = Int64(information.st_mtim.tv_sec)
            nanoseconds = Int64(information.st_mtim.tv_nsec)
        #endif
    }

    /// Whether `now` is the same file with other content.
    package func wasRewritten(as now: FileStamp?) -> Bool {
        guard let now, now.device == device, now.number == number else { return false }
        return now != self
    }
}

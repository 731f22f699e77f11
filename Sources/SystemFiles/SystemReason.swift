#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Why the operating system refused something, in its own words, and what a person can do about it.
package struct SystemReason: Sendable, Hashable, CustomStringConvertible, ExpressibleByStringInterpolation {
    /// The system's number; nil where the reason is our own.
    package let code: Int32?
    package let description: String

    package init(_ code: Int32) {
        self.code = code
        switch code {
        case ENOENT: description = "no such file or folder"
        case EISDIR: description = "it is a folder"
        case ENOTDIR: description = "part of the path is not a folder"
        case ELOOP: description = "too many symbolic links, perhaps in a circle"
        default:
            let words = String(cString: strerror(code))
            description = words.prefix(1).lowercased() + words.dropFirst()
        }
    }

    /// A reason of our own.
    package init(stringLiteral words: String) {
        code = nil
        description = words
    }

    /// What the last system call of this thread failed with.
    package static var last: SystemReason { SystemReason(errno) }

    /// A folder where a file was expected.
    package var isFolder: Bool { code == EISDIR }

    /// The machine has no more of something; whatever the file is, it is not at fault.
    package var isExhaustion: Bool {
        code == EMFILE || code == ENFILE || code == ENOMEM
    }

    /// What helps, where it can be said without knowing what the file is for.
    package var advice: String? {
        switch code {
        case ENOENT?, ENOTDIR?, ELOOP?, ENAMETOOLONG?: "check the path"
        case EACCES?, EPERM?: "check its permissions"
        case EMFILE?: "raise the limit of open files (ulimit -n)"
        case ENFILE?, ENOMEM?: "close other programs"
        case ENOSPC?, EDQUOT?: "make room or choose another place"
        case EFBIG?: "raise the limit of the file size (ulimit -f) or choose another place"
        case EIO?: "check the disk"
        default: nil
        }
    }
}

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Which file a name stands for, whatever links lead to it.
package struct FileIdentity: Sendable, Hashable {
    private let device: UInt64
    private let inode: UInt64

    init(_ information: stat) {
        device = UInt64(information.st_dev)
        inode = UInt64(information.st_ino)
    }

    /// - Returns: nil when there is nothing at the path.
    package init?(path: String) {
        var information = stat()
        guard stat(path, &information) == 0 else { return nil }
        self.init(information)
    }

    /// - Parameter path: any bytes but 0, and a 0 at the end.
    package init?(pathBytes path: [CChar]) {
        var information = stat()
        guard stat(path, &information) == 0 else { return nil }
        self.init(information)
    }

    /// - Returns: nil when the descriptor is not open.
    package init?(descriptor: Int32) {
        var information = stat()
        guard fstat(descriptor, &information) == 0 else { return nil }
        self.init(information)
    }

    /// Whether there is a regular file at a path, or nothing: then reading it does not wait for anybody.
    package static func isRegularOrMissing(_ path: String) -> Bool {
        var information = stat()
        return stat(path, &information) != 0 || information.st_mode & S_IFMT == S_IFREG
    }

    /// What is directly in a folder.
    package static func contents(ofFolder path: String) -> [FileIdentity] {
        let names = (try? BoundedFile.names(inFolder: path)) ?? []
        return names.compactMap { FileIdentity(path: "\(path)/\($0)") }
    }
}

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Writes bytes to an open file or stream, all of them or an error.
package struct OutputWriter: ~Copyable {
    let descriptor: Int32
    /// What errors call it.
    let name: String
    private let isCancelled: () -> Bool
    /// How much is written between two looks at `isCancelled`.
    private static let stretch = 8 << 20

    init(_ descriptor: Int32, name: String, isCancelled: @escaping () -> Bool) {
        self.descriptor = descriptor
        self.name = name
        self.isCancelled = isCancelled
    }

    package func write(_ bytes: UnsafeRawBufferPointer) throws(OutputError) {
        var rest = bytes
        while let base = rest.baseAddress, !rest.isEmpty {
            if isCancelled() { throw .cancelled }
            #if canImport(Darwin)
                let count = Darwin.write(descriptor, base, min(rest.count, Self.stretch))
            #elseif canImport(Musl)
                let count = Musl.write(descriptor, base, min(rest.count, Self.stretch))
            #else
                let count = Glibc.write(descriptor, base, min(rest.count, Self.stretch))
            #endif
            if count < 0 {
                if errno == EINTR { continue }
                throw OutputError(name, .last)
            }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    package func write(_ bytes: [UInt8]) throws(OutputError) {
        let result = bytes.withUnsafeBytes { bytes in
            Result { () throws(OutputError) in try write(bytes) }
        }
        try result.get()
    }

    /// Brings what was written to the disk.
    func synchronize() throws(OutputError) {
        // Some file systems cannot: that is no failure of writing.
        if fsync(descriptor) != 0, errno != EINVAL, errno != EROFS, errno != ENOTSUP {
            throw OutputError(name, .last)
        }
    }
}

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
final class PartialFile: TransferTarget {
    let path: String
    private let size: Int
    private let hash: ContentHash?
    private let descriptor: Int32
    private var hasher: ContentHasher?
    private(set) var count = 0
    /// How many of them an earlier process left.
    private(set) var resumedBytes = 0
    private(set) var fault: HubError?

    /// Opens what is there, and hashes it.
    /// - Parameter hash: of the whole file; nil where nobody knows it
    init(_ path: String, size: Int, hash: ContentHash?, _ cancellation: Cancellation) throws {
        self.path = path
        (self.size, self.hash) = (size, hash)
        hasher = try hash.map { hash throws(HubError) in try ContentHasher(hash, size: size) }
        descriptor = try System.openForWriting(path)
        if try System.size(descriptor, path) > size { try restart() }
        try readWhatIsThere(cancellation)
    }

    deinit { close(descriptor) }

    var range: Range<Int> { 0..<size }

    private func readWhatIsThere(_ cancellation: Cancellation) throws {
        while true {
            try cancellation.check()
            let part: [UInt8]
            do { part = try BoundedFile.part(descriptor: descriptor) } catch {
                throw HubError(.storage, "cannot read '\(path)': \(error.reason); remove it and try again")
            }
            if part.isEmpty { break }
            part.withUnsafeBytes { hasher?.add($0) }
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
        hasher = try hash.map { hash throws(HubError) in try ContentHasher(hash, size: size) }
    }

    func append(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count <= size - count else { return false }
        var rest = bytes
        while let base = rest.baseAddress, !rest.isEmpty {
            let written = write(descriptor, base, rest.count)
            if written < 0 {
                if errno == EINTR { continue }
                fault = System.fault("cannot write '\(path)'")
                return false
            }
            hasher?.add(UnsafeRawBufferPointer(rebasing: rest[..<written]))
            count += written
            rest = UnsafeRawBufferPointer(rebasing: rest[written...])
        }
        return true
    }

    /// Gives the complete file its name.
    /// - Returns: false for wrong bytes, which are thrown away.
    func finish(as name: String) throws -> Bool {
        guard hasher?.finish() == hash else {
            try restart()
            return false
        }
        try System.synchronize(descriptor, path)
        try System.rename(path, to: name)
        return true
    }

    func discard() { unlink(path) }
}

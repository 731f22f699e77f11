internal import Synchronization
internal import SystemFiles

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// A large file of which several parts come at once.
///
/// Behind the file's own bytes stands how much of each part is there, so that another process goes on where this one ended:
/// a mark, the size of a part, and a count for each part, as 64-bit little-endian numbers. What an ordinary download left,
/// which holds the first bytes of the file, is taken over.
final class FileInParts: Sendable {
    /// Bytes of the file that come one after the other.
    final class Part: TransferTarget, Sendable {
        let range: Range<Int>
        fileprivate let counter: Atomic<Int>
        private let failure = Mutex<HubError?>(nil)
        /// Where its count stands.
        private let countPlace: Int
        private let descriptor: Int32
        private let path: String

        fileprivate init(
            _ range: Range<Int>, count: Int, countPlace: Int, _ descriptor: Int32, _ path: String
        ) {
            self.range = range
            counter = Atomic(count)
            self.countPlace = countPlace
            self.descriptor = descriptor
            self.path = path
        }

        var count: Int { counter.load(ordering: .relaxed) }
        var fault: HubError? { failure.withLock { $0 } }

        func append(_ bytes: UnsafeRawBufferPointer) -> Bool {
            let count = count
            guard bytes.count <= range.count - count else { return false }
            do throws(HubError) {
                try System.write(bytes, at: range.lowerBound + count, descriptor, path)
                // Behind the bytes: what is counted is there.
                try System.write([count + bytes.count], at: countPlace, descriptor, path)
            } catch {
                failure.withLock { $0 = error }
                return false
            }
            counter.store(count + bytes.count, ordering: .relaxed)
            return true
        }

        func restart() throws { throw NoParts() }
    }

    /// The server sends the whole file where a part was asked for.
    struct NoParts: Error {}

    let path: String
    private let size: Int
    private let hash: ContentHash?
    private let descriptor: Int32
    let parts: [Part]
    /// How many bytes an earlier process left.
    let resumedBytes: Int

    private static let mark = 0x3173_7472_6170_7666
    private static let countsOffset = 16

    /// Opens what is there.
    /// - Parameters:
    ///   - beginning: where an ordinary download may have left the first bytes of the file
    ///   - hash: of the whole file; nil where nobody knows it
    init(
        _ path: String, beginning: String, size: Int, hash: ContentHash?, partBytes: Int
    ) throws(HubError) {
        (self.path, self.size, self.hash) = (path, size, hash)
        if System.information(path, followsLinks: false) == nil,
            let first = System.information(beginning, followsLinks: false), first.isFile, first.size <= size
        {
            try System.rename(beginning, to: path)
        }
        let descriptor = try System.openForWriting(path)
        self.descriptor = descriptor
        let layout: Layout
        do throws(HubError) {
            layout = try Layout(descriptor, path, size: size, partBytes: partBytes)
        } catch {
            close(descriptor)
            throw error
        }
        parts = zip(layout.ranges, layout.counts).enumerated().map { number, part in
            Part(
                part.0, count: part.1, countPlace: size + Self.countsOffset + 8 * number, descriptor, path)
        }
        resumedBytes = layout.counts.reduce(0, +)
    }

    /// The parts of a file, and how much of each is there.
    private struct Layout {
        let ranges: [Range<Int>]
        let counts: [Int]

        /// Reads what stands behind the file's bytes, and writes it where it is not there.
        init(_ descriptor: Int32, _ path: String, size: Int, partBytes: Int) throws(HubError) {
            let there = try System.size(descriptor, path)
            let known = FileInParts.counts(descriptor, fileBytes: there, size: size)
            // A file without counts holds the first bytes, and more than all of them is nothing that is known.
            let partBytes = known?.partBytes ?? partBytes
            let first = known == nil && there <= size ? there : 0
            ranges = stride(from: 0, to: size, by: partBytes).map { $0..<min($0 + partBytes, size) }
            counts = known?.counts ?? ranges.map { min(max(first - $0.lowerBound, 0), $0.count) }
            if known == nil {
                guard there <= size || ftruncate(descriptor, 0) == 0 else {
                    throw System.fault("cannot write '\(path)'")
                }
                try System.write([FileInParts.mark, partBytes] + counts, at: size, descriptor, path)
            }
        }
    }

    deinit { close(descriptor) }

    /// Bytes that are there.
    var count: Int { parts.reduce(0) { $0 + $1.count } }

    /// How many bytes a file of this kind holds; nil where there is none.
    static func bytesThere(_ path: String, size: Int) -> Int? {
        guard let there = System.information(path, followsLinks: false), there.isFile,
            let descriptor = System.openForReading(path)
        else { return nil }
        defer { close(descriptor) }
        return counts(descriptor, fileBytes: there.size, size: size)?.counts.reduce(0, +)
    }

    /// What stands behind the file's bytes; nil where that is not what we write.
    private static func counts(
        _ descriptor: Int32, fileBytes: Int, size: Int
    ) -> (partBytes: Int, counts: [Int])? {
        guard let head = System.numbers(2, at: size, descriptor), head[0] == mark,
            (1...max(size, 1)).contains(head[1])
        else { return nil }
        let number = (size + head[1] - 1) / head[1]
        guard fileBytes == size + countsOffset + 8 * number,
            let counts = System.numbers(number, at: size + countsOffset, descriptor)
        else { return nil }
        let areCounts = counts.enumerated().allSatisfy {
            (0...min(head[1], size - $0 * head[1])).contains($1)
        }
        return areCounts ? (head[1], counts) : nil
    }

    /// Gives the complete file its name.
    /// - Returns: false for wrong bytes, which are thrown away.
    func finish(as name: String, _ cancellation: Cancellation) throws -> Bool {
        if let hash {
            let hasher = try ContentHasher(hash, size: size)
            var place = 0
            while place < size {
                try cancellation.check()
                guard let bytes = System.bytes(min(1 << 20, size - place), at: place, descriptor) else {
                    throw System.fault("cannot read '\(path)'")
                }
                bytes.withUnsafeBytes { hasher.add($0) }
                place += bytes.count
            }
            guard hasher.finish() == hash else {
                discard()
                return false
            }
        }
        guard ftruncate(descriptor, off_t(size)) == 0 else { throw System.fault("cannot write '\(path)'") }
        try System.synchronize(descriptor, path)
        try System.rename(path, to: name)
        return true
    }

    func discard() { unlink(path) }
}

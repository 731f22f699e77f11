internal import CArchive

/// A zip archive on disk, read from its first entry to its last.
final class ZipArchive {
    struct Entry {
        enum Kind { case file, folder, other }

        let path: String
        /// Unpacked, as the archive says; nil where it does not.
        let size: Int?
        let kind: Kind
        let isEncrypted: Bool
    }

    private let reader: UnsafeMutableRawPointer

    /// - Throws: without libarchive. What is no archive, ``next()`` says.
    init(_ path: String) throws(HubError) {
        if let obstacle = carchive_prepare() {
            throw HubError(.storage, "cannot unpack the archive: \(String(cString: obstacle)); install it")
        }
        guard let reader = carchive_open(path) else {
            throw HubError(.storage, "there is no memory for an archive; close other programs")
        }
        self.reader = reader
    }

    deinit { carchive_close(reader) }

    /// The next entry; nil at the end.
    func next() throws(HubError) -> Entry? {
        var entry = carchive_entry()
        switch carchive_next(reader, &entry) {
        case 0: return nil
        case 1:
            return Entry(
                // What is no text is no name of ours either.
                path: entry.path.flatMap { String(validatingCString: $0) } ?? "",
                size: entry.size >= 0 ? Int(entry.size) : nil,
                kind: entry.kind == carchive_file ? .file : entry.kind == carchive_folder ? .folder : .other,
                isEncrypted: entry.encrypted != 0)
        default: throw fault()
        }
    }

    /// Bytes of the entry.
    /// - Returns: how many; 0 at its end.
    /// - Throws: for damage, a wrong checksum included.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws(HubError) -> Int {
        let count = carchive_read(reader, buffer.baseAddress, buffer.count)
        guard count >= 0 else { throw fault() }
        return count
    }

    private func fault() -> HubError {
        HubError(
            .damaged,
            "the archive is damaged, or no zip archive (\(printable(String(cString: carchive_error(reader))))); it was thrown "
                + "away: try again")
    }
}

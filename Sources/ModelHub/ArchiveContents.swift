/// What of an archive is a model: the files of one folder that a model needs.
struct ArchiveContents {
    /// Their sizes, by their paths in the archive.
    let files: [String: Int]
    /// The folder's path, with a slash at its end; empty where it is the archive's root.
    let folder: String
    /// All paths below the folder.
    let paths: [String]

    var bytes: Int { files.values.reduce(0, +) }

    static let mostEntries = 20_000
    /// Weights hardly shrink; what grows like this is no model.
    private static let mostGrowth = 16
    private static let growthAllowance = 64 << 20

    /// - Parameter archiveBytes: size of the archive itself
    /// - Throws: for names that could lead out of a folder, for what is no model, and for what would become too large.
    init(_ entries: [ZipArchive.Entry], archiveBytes: Int) throws(HubError) {
        var entriesByPath: [String: ZipArchive.Entry] = [:]
        for entry in entries {
            let path =
                entry.kind == .folder && entry.path.hasSuffix("/")
                ? String(entry.path.dropLast()) : entry.path
            guard RepositoryFile.isSafe(path) else {
                throw HubError(
                    .unusable,
                    "the archive holds '\(printable(path))', whose name could lead elsewhere; nothing was unpacked"
                )
            }
            // Notes of a Mac's Finder.
            guard entry.kind != .folder, !path.hasPrefix("__MACOSX/"), !Self.name(path).hasPrefix("._") else {
                continue
            }
            guard entriesByPath.updateValue(entry, forKey: path) == nil else {
                throw HubError(
                    .unusable, "the archive holds '\(printable(path))' twice; nothing was unpacked")
            }
        }
        let folders = Set(entriesByPath.keys.filter { Self.name($0) == "config.json" }.map(Self.folder))
            .filter { folder in
                entriesByPath.keys.contains { Self.folder($0) == folder && $0.hasSuffix(".safetensors") }
            }
        guard folders.count <= 1 else {
            throw HubError(
                .unusable,
                "the archive holds \(folders.count) models; unpack it by hand, and give the folder of one with --model"
            )
        }
        guard let folder = folders.first else {
            let reason = FileSelection.refusal(entriesByPath.keys.map(Self.name))
            throw HubError(
                .unusable,
                "the archive \(reason?.reason ?? "has no model"); nothing was unpacked. What works: \(ArchiveAddress.example)"
            )
        }
        var files: [String: Int] = [:]
        for (path, entry) in entriesByPath where Self.folder(path) == folder {
            let name = String(path.dropFirst(folder.count))
            guard FileSelection.isNeeded(name, size: entry.size ?? 0) else { continue }
            guard entry.kind == .file, !entry.isEncrypted, let size = entry.size,
                size <= RepositoryFile.largest
            else {
                throw HubError(
                    .unusable,
                    "'\(path)' in the archive is encrypted, a link or of unknown size; nothing was unpacked")
            }
            files[path] = size
        }
        self.files = files
        self.folder = folder
        paths = entriesByPath.keys.filter { $0.hasPrefix(folder) }.map { String($0.dropFirst(folder.count)) }
        // Sizes are at most 4 TiB and files at most 20,000: the sum fits.
        guard bytes <= archiveBytes * Self.mostGrowth + Self.growthAllowance else {
            throw HubError(
                .unusable,
                "the archive's \(byteCount(archiveBytes)) would become \(byteCount(bytes)); that is no model, and nothing was "
                    + "unpacked")
        }
    }

    private static func name(_ path: String) -> String {
        String(path[(path.lastIndex(of: "/").map { path.index(after: $0) } ?? path.startIndex)...])
    }

    /// With a slash at its end; empty for the root.
    private static func folder(_ path: String) -> String {
        path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
    }
}

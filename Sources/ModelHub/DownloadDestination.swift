internal import SystemFiles

/// Where downloaded files go.
protocol DownloadDestination: Sendable {
    /// The folder whose file system must have enough free space.
    var root: String { get }
    /// The complete file.
    func path(_ file: RepositoryFile) -> String
    /// Where a file is until it is complete, without the end of that name.
    func unfinished(_ file: RepositoryFile) -> String
    func lock(_ file: RepositoryFile) -> String
    func prepare(_ commit: String) throws(HubError)
    /// Refuses to replace what is not a download.
    func checkReplacing(_ file: RepositoryFile, _ cancellation: Cancellation) throws
    /// Gives a complete file its name in the model's folder.
    func publish(_ file: RepositoryFile, _ commit: String) throws(HubError)
    /// When all files are there.
    func finish(_ revision: String, _ commit: String) throws(HubError)
    /// The model's folder.
    func result(_ commit: String) -> String
}

extension DownloadDestination {
    /// Whether a file of the right size is there.
    func holds(_ file: RepositoryFile) -> Bool {
        System.information(path(file)).map { $0.isFile && $0.size == file.size } ?? false
    }

    /// Its first bytes; the Python client's name for them.
    func partial(_ file: RepositoryFile) -> String { unfinished(file) + ".incomplete" }
    /// Its parts, where several come at once.
    func parts(_ file: RepositoryFile) -> String { unfinished(file) + ".parts.incomplete" }

    /// Bytes that need not be downloaded, if they are right.
    func bytes(of file: RepositoryFile) -> Int {
        if holds(file) { return file.size }
        return FileInParts.bytesThere(parts(file), size: file.size)
            ?? System.information(partial(file), followsLinks: false)?.size ?? 0
    }
}

extension ContentHasher {
    /// Whether the file at a path has the size and hash of one in a repository.
    static func matches(_ path: String, _ file: RepositoryFile, _ cancellation: Cancellation) throws -> Bool {
        let hasher = try ContentHasher(file.hash, size: file.size)
        let count: Int
        do {
            count = try BoundedFile.stream(path) { bytes in
                hasher.add(bytes)
                return !cancellation.isCancelled
            }
        } catch {
            throw HubError(
                .storage, "cannot read '\(path)': \(error.reason); \(error.reason.advice ?? "check the disk")"
            )
        }
        try cancellation.check()
        return count == file.size && hasher.finish() == file.hash
    }
}

/// The hub's cache.
struct CacheDestination: DownloadDestination {
    let cache: HubCache
    let repository: RepositoryName

    var root: String { cache.root }
    func path(_ file: RepositoryFile) -> String { cache.blob(repository, file.hash) }
    func unfinished(_ file: RepositoryFile) -> String { cache.blob(repository, file.hash) }
    func lock(_ file: RepositoryFile) -> String { cache.lock(repository, file.hash) }
    func prepare(_ commit: String) throws(HubError) { try cache.prepare(repository, commit) }
    /// A content under its own hash may always be replaced by a right one.
    func checkReplacing(_ file: RepositoryFile, _ cancellation: Cancellation) {}
    func publish(_ file: RepositoryFile, _ commit: String) throws(HubError) {
        try cache.linkSnapshot(file, repository, commit)
    }
    func finish(_ revision: String, _ commit: String) throws(HubError) {
        try cache.writeReference(repository, revision, to: commit)
    }
    func result(_ commit: String) -> String { cache.snapshot(repository, commit) }
}

/// A folder of a person's choice, with the metadata of downloads in `.cache/huggingface`, as the Python client keeps them.
struct FolderDestination: DownloadDestination {
    let root: String
    private let cache: String

    init(_ root: String, repository: RepositoryName) {
        var root = root
        while root.count > 1, root.hasSuffix("/") { root.removeLast() }
        self.root = root
        cache = "\(root)/.cache/huggingface"
    }

    func path(_ file: RepositoryFile) -> String { "\(root)/\(file.path)" }
    func unfinished(_ file: RepositoryFile) -> String { "\(cache)/download/\(file.hash.digits)" }
    private func metadata(_ file: RepositoryFile) -> String { "\(cache)/download/\(file.path).metadata" }
    func lock(_ file: RepositoryFile) -> String { "\(cache)/download/\(file.path).lock" }

    func prepare(_ commit: String) throws(HubError) {
        try System.makeFolders("\(cache)/download")
        if System.information("\(cache)/.gitignore", followsLinks: false) == nil {
            try System.write("*", to: "\(cache)/.gitignore")
        }
    }

    /// What does not have the hash that its metadata name is somebody's own.
    func checkReplacing(_ file: RepositoryFile, _ cancellation: Cancellation) throws {
        try System.makeFolders(parent(of: path(file)))
        guard let there = System.information(path(file), followsLinks: false) else { return }
        let lines = System.text(metadata(file))?.split(separator: "\n") ?? []
        if there.isFile, lines.count >= 2, let hash = ContentHash(String(lines[1])) {
            let downloaded = RepositoryFile(path: file.path, size: there.size, hash: hash)
            if try ContentHasher.matches(path(file), downloaded, cancellation) { return }
        }
        throw HubError(
            .storage,
            "'\(path(file))' is there with other content and was not downloaded from a hub; move it away or choose "
                + "another folder")
    }

    func publish(_ file: RepositoryFile, _ commit: String) throws(HubError) {
        try System.makeFolders(parent(of: metadata(file)))
        let time = System.information(path(file))?.modified ?? 0
        try System.write("\(commit)\n\(file.hash.digits)\n\(time)\n", to: metadata(file))
    }

    func finish(_ revision: String, _ commit: String) {}
    func result(_ commit: String) -> String { root }
}

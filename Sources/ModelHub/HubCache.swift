internal import SystemFiles

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The hub's own cache on disk, which its Python client and everybody who uses it share:
///
/// ```
/// models--owner--name/blobs/<hash>                 contents
///                     refs/<revision>              the commit, 40 digits
///                     snapshots/<commit>/<path> →  ../../blobs/<hash>
/// .locks/models--owner--name/<hash>.lock
/// ```
package struct HubCache: Sendable {
    package let root: String

    package init(_ root: String) { self.root = root }

    package func folder(_ repository: RepositoryName) -> String { "\(root)/\(repository.folder)" }

    func blob(_ repository: RepositoryName, _ hash: ContentHash) -> String {
        "\(folder(repository))/blobs/\(hash.digits)"
    }

    package func snapshot(_ repository: RepositoryName, _ commit: String) -> String {
        "\(folder(repository))/snapshots/\(commit)"
    }

    func lock(_ repository: RepositoryName, _ hash: ContentHash) -> String {
        "\(root)/.locks/\(repository.folder)/\(hash.digits).lock"
    }

    // MARK: Finding

    /// The commit of a revision, if the cache knows it.
    package func commit(_ repository: RepositoryName, _ revision: String) -> String? {
        if Revision.isCommit(revision) { return revision }
        return commit(inReference: "\(folder(repository))/refs/\(revision)")
    }

    func commit(inReference path: String) -> String? {
        let commit = System.text(path, limit: 200)?.filter { !$0.isWhitespace }
        return commit.flatMap { Revision.isCommit($0) ? $0 : nil }
    }

    /// The folder of a model that is there with weights; nil where there is none, or only its small files.
    package func modelFolder(_ repository: RepositoryName, revision: String = "main") -> String? {
        guard let commit = commit(repository, revision) else { return nil }
        let folder = snapshot(repository, commit)
        let names = (try? BoundedFile.names(inFolder: folder)) ?? []
        guard names.contains("config.json"),
            names.contains(where: {
                $0.hasSuffix(".safetensors") && System.information("\(folder)/\($0)") != nil
            })
        else { return nil }
        return folder
    }

    // MARK: Writing

    /// Makes the cache's folders, and the file that keeps backups away from it.
    func prepare(_ repository: RepositoryName, _ commit: String) throws(HubError) {
        try System.makeFolders("\(folder(repository))/blobs")
        try System.makeFolders(snapshot(repository, commit))
        let tag = "\(root)/CACHEDIR.TAG"
        if System.information(tag, followsLinks: false) == nil {
            // Backups do without it.
            try? System.write(
                "Signature: 8a477f597d28d172789f06886806bc55\n# A cache of models; see https://bford.info/cachedir/\n",
                to: tag)
        }
    }

    /// Links a blob into a snapshot under its path.
    func linkSnapshot(_ file: RepositoryFile, _ repository: RepositoryName, _ commit: String) throws(HubError)
    {
        let path = "\(snapshot(repository, commit))/\(file.path)"
        try System.makeFolders(parent(of: path))
        let depth = file.path.split(separator: "/").count + 1
        let target = String(repeating: "../", count: depth) + "blobs/\(file.hash.digits)"
        if let there = System.information(path, followsLinks: false) {
            if there.isLink, System.linkTarget(path) == target { return }
            guard there.isLink else {
                // Where links cannot be made, the Python client puts the file itself there.
                if there.isFile, there.size == file.size { return }
                throw HubError(
                    .storage,
                    "'\(path)' is in the way and is not of the hub's cache; look into it and remove it")
            }
        }
        try System.link(path, to: target)
    }

    /// Remembers which commit a revision is.
    func writeReference(_ repository: RepositoryName, _ revision: String, to commit: String) throws(HubError)
    {
        guard revision != commit else { return }
        let path = "\(folder(repository))/refs/\(revision)"
        if System.text(path, limit: 200) == commit { return }
        try System.makeFolders(parent(of: path))
        try System.write(commit, to: path)
    }
}

internal import SystemFiles

/// A model in the hub's cache.
package struct CachedModel: Sendable {
    package let repository: RepositoryName
    package let folder: String
    /// The commits of the branches and tags that were asked for.
    package let references: [(name: String, commit: String)]
    /// Commits that are there.
    package let commits: [String]
    /// Bytes on disk, with what is not complete.
    package let bytes: Int
    /// Of these, bytes of downloads that were not finished.
    package let unfinished: Int
    /// The snapshot of the revision main, where it has a configuration and weights.
    package let modelFolder: String?
}

extension HubCache {
    /// What is in the cache, by name.
    package func models() throws -> [CachedModel] {
        guard System.information(root)?.isFolder == true else { return [] }
        return try names(root).sorted().compactMap { RepositoryName(folder: $0) }.compactMap(cachedModel)
    }

    /// - Returns: nil where there is no such folder.
    package func cachedModel(_ repository: RepositoryName) -> CachedModel? {
        let folder = folder(repository)
        guard System.information(folder, followsLinks: false)?.isFolder == true else { return nil }
        var (bytes, unfinished) = (0, 0)
        for name in (try? names("\(folder)/blobs")) ?? [] {
            // A link leads to the store that several models share, which is not this one's.
            guard let file = System.information("\(folder)/blobs/\(name)", followsLinks: false), file.isFile
            else {
                continue
            }
            bytes += file.allocated
            if name.hasSuffix(".incomplete") { unfinished += file.allocated }
        }
        return CachedModel(
            repository: repository, folder: folder, references: references("\(folder)/refs", ""),
            commits: ((try? names("\(folder)/snapshots")) ?? []).filter(Revision.isCommit).sorted(),
            bytes: bytes,
            unfinished: unfinished, modelFolder: modelFolder(repository))
    }

    private func references(_ folder: String, _ prefix: String, depth: Int = 0) -> [(
        name: String, commit: String
    )] {
        guard depth < 8 else { return [] }
        return ((try? names(folder)) ?? []).sorted().flatMap { name -> [(name: String, commit: String)] in
            let path = "\(folder)/\(name)"
            guard let there = System.information(path, followsLinks: false) else { return [] }
            if there.isFolder { return references(path, "\(prefix)\(name)/", depth: depth + 1) }
            return commit(inReference: path).map { [("\(prefix)\(name)", $0)] } ?? []
        }
    }

    private func names(_ folder: String) throws(HubError) -> [String] {
        do { return try BoundedFile.names(inFolder: folder) } catch {
            throw HubError(
                .storage,
                "cannot read '\(folder)': \(error.reason); \(error.reason.advice ?? "check the path")")
        }
    }

    // MARK: Removing

    /// Removes a model: its folder in this cache, links themselves and never what they lead to.
    /// - Throws: when another process downloads it, and for what cannot be removed.
    package func remove(_ repository: RepositoryName) throws {
        let folder = folder(repository)
        guard System.information(folder, followsLinks: false)?.isFolder == true else {
            throw HubError(.usage, "there is no \(repository) in \(root); 'fastvlm list' shows what is there")
        }
        let locks = "\(root)/.locks/\(repository.folder)"
        for name in (try? names(locks)) ?? [] where FileLock.isHeld("\(locks)/\(name)") {
            throw HubError(
                .storage, "\(repository) is being downloaded by another process; wait for it, or stop it")
        }
        try System.remove(folder: folder, in: root)
    }
}

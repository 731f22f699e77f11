internal import SystemFiles

extension HubCache {
    /// Compares the files of a snapshot with the hashes that they are stored under.
    /// - Parameters:
    ///   - folder: of a cache; of any other folder nothing is known
    ///   - progress: told each file before it is read
    /// - Returns: what is wrong, in sentences, and how many files were compared.
    package static func verify(
        in folder: String, _ cancellation: Cancellation, progress: (String) -> Void = { _ in }
    ) throws -> (faults: [String], compared: Int) {
        var (faults, compared) = ([String](), 0)
        for name in ((try? BoundedFile.names(inFolder: folder)) ?? []).sorted() {
            let path = "\(folder)/\(name)"
            // blobs/<hash>, whatever that may be a link to in turn.
            guard let target = System.linkTarget(path), target.contains("blobs/"),
                let hash = target.split(separator: "/").last.flatMap({ ContentHash(String($0)) }),
                let file = System.information(path), file.isFile
            else { continue }
            progress(name)
            compared += 1
            let expected = RepositoryFile(path: name, size: file.size, hash: hash)
            if try !ContentHasher.matches(path, expected, cancellation) {
                faults.append(
                    "\(path): its bytes are not those that the hub has under this name (their hash differs); run 'fastvlm "
                        + "pull' again, which replaces it")
            }
        }
        return (faults, compared)
    }
}

internal import SystemFiles

/// Models that came as archives, on disk: a folder for each, which says where it comes from in a file of its own.
///
/// ```
/// <name>/…                    the model's files, and .archive
/// .downloads/<name>-….zip     until it is unpacked
/// .locks/<name>.lock
/// ```
package struct ArchiveCache: Sendable {
    package let root: String

    package init(_ folders: HubFolders) { root = folders.archives }

    static let sourceName = ".archive"

    /// A model that is there.
    package struct Model: Sendable {
        package let name: String
        package let folder: String
        /// Where it came from.
        package let address: String
        /// Bytes on disk.
        package let bytes: Int
    }

    /// By name.
    package var models: [Model] {
        ((try? BoundedFile.names(inFolder: root)) ?? []).sorted().compactMap(model)
    }

    /// - Returns: nil where no archive of this name was unpacked.
    package func model(_ name: String) -> Model? {
        let folder = "\(root)/\(name)"
        guard ArchiveAddress.isName(name), System.information(folder, followsLinks: false)?.isFolder == true,
            let source = System.text("\(folder)/\(Self.sourceName)")?.split(separator: "\n"),
            let address = source.first
        else { return nil }
        let files = (try? BoundedFile.names(inFolder: folder)) ?? []
        let bytes = files.reduce(0) {
            $0 + (System.information("\(folder)/\($1)", followsLinks: false)?.allocated ?? 0)
        }
        return Model(name: name, folder: folder, address: String(address), bytes: bytes)
    }

    /// - Throws: where there is none, and for what cannot be removed.
    package func remove(_ name: String) throws {
        guard let model = model(name) else {
            throw HubError(
                .usage, "there is no '\(printable(name))' in \(root); 'fastvlm list' shows what is there")
        }
        if FileLock.isHeld(lock(name)) {
            throw HubError(.storage, "\(name) is being unpacked by another process; wait for it, or stop it")
        }
        try System.remove(folder: model.folder, in: root)
        for file in downloads(of: name) { try System.remove(file: file) }
    }

    // MARK: Writing

    func folder(_ name: String) -> String { "\(root)/\(name)" }
    func lock(_ name: String) -> String { "\(root)/.locks/\(name).lock" }

    /// Where an archive of a state is until it is unpacked.
    func download(_ name: String, state: String) -> String { "\(root)/.downloads/\(name)-\(state).zip" }

    /// Archives of a name, and what there is of them.
    func downloads(of name: String) -> [String] {
        let folder = "\(root)/.downloads"
        return ((try? BoundedFile.names(inFolder: folder)) ?? []).filter { file in
            // A state has sixteen digits, so that no name is another one's beginning.
            file.hasPrefix("\(name)-")
                && file.dropFirst(name.count + 1).prefix { $0 != "." }.allSatisfy(\.isHexDigit)
        }.map { "\(folder)/\($0)" }
    }
}

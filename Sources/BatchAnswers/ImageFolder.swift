package import SystemFiles
internal import WireFormats

/// The images below a folder, by their paths in it, in the order of the paths' bytes.
///
/// Images are told by the endings of their names. What begins with a dot is left out, and folders that are links are not
/// entered, so that no circle is walked for ever.
package struct ImageFolder: Sendable {
    package let path: String
    package let names: [String]

    /// - Parameters:
    ///   - endings: of images, in lower case, without the dot
    ///   - unreadable: receives the path of a folder below that cannot be read, and why
    /// - Throws: `BoundedFile.ReadError` for the folder itself.
    package init(
        _ path: String, endings: Set<String>,
        unreadable: (String, SystemReason) -> Void = { _, _ in }
    ) throws(BoundedFile.ReadError) {
        self.path = path
        var names: [String] = []
        var folders = [""]
        while let folder = folders.popLast() {
            let entries: [BoundedFile.FolderEntry]
            do {
                entries = try BoundedFile.entries(inFolder: folder.isEmpty ? path : "\(path)/\(folder)")
            } catch {
                if folder.isEmpty { throw error }
                unreadable(folder, error.reason)
                continue
            }
            for entry in entries where !entry.name.hasPrefix(".") {
                let name = folder.isEmpty ? entry.name : "\(folder)/\(entry.name)"
                if entry.isFolder {
                    folders.append(name)
                } else if let dot = entry.name.lastIndex(of: "."),
                    endings.contains(entry.name[entry.name.index(after: dot)...].lowercased())
                {
                    names.append(name)
                }
            }
        }
        self.names = names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    func item(_ index: Int, question: String) -> BatchItem {
        let name = names[index]
        let message = ChatMessage(.user, [.image(.file(name)), .text(question)])
        return BatchItem(
            line: index + 1, id: .text(name), end: index + 1,
            request: Result { () throws(RequestError) in
                let (turns, _) = try ChatConversation.turns([message])
                return ChatRequest(
                    model: nil, messages: turns, parameters: GenerationParameters(), streams: false)
            }.mapError { BatchFailure($0) })
    }
}

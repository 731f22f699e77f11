internal import SystemFiles

/// What the Tab key does in a chat: commands at the beginning of a line, paths after `/image`.
public struct LineCompletion: Sendable, Hashable {
    /// What is put in at the cursor.
    public let insertion: String
    /// What it could be, when there are several.
    public let choices: [String]

    static let commands = ["/drop", "/image ", "/quit", "/reset", "/resolution "]

    /// - Parameter line: the line up to the cursor
    public init(_ line: String) {
        if line.hasPrefix("/image "), let path = PathPrefix(line.dropFirst("/image ".count)) {
            self = path.completion()
        } else if line.hasPrefix("/"), !line.contains(" ") {
            let found = Self.commands.filter { $0.hasPrefix(line) }
            self.init(
                insertion: String(Self.common(found).dropFirst(line.count)),
                choices: found.count > 1 ? found : [])
        } else {
            self.init(insertion: "", choices: [])
        }
    }

    fileprivate init(insertion: String, choices: [String]) {
        self.insertion = insertion
        self.choices = choices
    }

    /// What all names begin with.
    fileprivate static func common(_ names: [String]) -> String {
        guard var common = names.first.map({ Substring($0) }) else { return "" }
        for name in names.dropFirst() {
            while !name.hasPrefix(common) { common.removeLast() }
        }
        return String(common)
    }
}

/// The beginning of a path as it is typed, perhaps in quotes or with backslashes.
private struct PathPrefix {
    private enum Quoting { case none, backslashes, quote(Character) }

    private let quoting: Quoting
    /// The folder that is looked into, and the beginning of a name in it.
    private let folder: String
    private let name: String

    /// - Returns: nil when nothing can be completed, as behind a closed quote.
    init?(_ typed: Substring) {
        var typed = typed.drop { $0 == " " }
        let text: String
        if let first = typed.first, first == "'" || first == "\"" {
            typed.removeFirst()
            guard !typed.contains(first) else { return nil }
            quoting = .quote(first)
            text = String(typed)
        } else if typed.contains("\\") {
            quoting = .backslashes
            guard let plain = ShellWords.unquoted(String(typed)) else { return nil }
            text = plain
        } else {
            quoting = .none
            text = String(typed)
        }
        let slash = text.lastIndex(of: "/")
        folder = slash.map { String(text[...$0]) } ?? ""
        name = slash.map { String(text[text.index(after: $0)...]) } ?? text
    }

    func completion() -> LineCompletion {
        let path = folder.isEmpty ? "." : HomeFolder.expanding(folder) ?? folder
        let names = ((try? BoundedFile.names(inFolder: path)) ?? []).filter { entry in
            // Bytes that are no text cannot be typed.
            entry.hasPrefix(name) && !entry.contains("\u{FFFD}")
                && (name.hasPrefix(".") || !entry.hasPrefix("."))
                && !entry.unicodeScalars.contains { $0.value < 0x20 }
        }.sorted()
        let entries = names.map { (name: $0, isFolder: FileNames.isFolder(Array("\(path)/\($0)".utf8))) }
        let images = entries.filter { entry in
            let end = entry.name.split(separator: ".").last.map { $0.lowercased() } ?? ""
            return entry.isFolder || Question.imageExtensions.contains(end)
        }
        let found = images.isEmpty ? entries : images
        let insertion = String(LineCompletion.common(found.map(\.name)).dropFirst(name.count))
        guard found.count == 1, let only = found.first else {
            return LineCompletion(
                insertion: written(insertion), choices: found.map { $0.isFolder ? "\($0.name)/" : $0.name })
        }
        var end = only.isFolder ? "/" : ""
        if !only.isFolder, case .quote(let quote) = quoting { end = String(quote) }
        return LineCompletion(insertion: written(insertion) + end, choices: [])
    }

    private func written(_ text: String) -> String {
        guard case .backslashes = quoting else { return text }
        return text.reduce(into: "") { result, character in
            if " '\"\\".contains(character) { result.append("\\") }
            result.append(character)
        }
    }
}

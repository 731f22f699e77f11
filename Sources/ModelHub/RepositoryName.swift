/// `owner/name` on a hub.
package struct RepositoryName: Sendable, Hashable, CustomStringConvertible {
    package let description: String

    /// The name of its folder in the cache.
    package var folder: String { "models--" + description.split(separator: "/").joined(separator: "--") }

    /// - Returns: nil for what no hub takes as a name: two parts of letters, digits, `-`, `_` and `.`, at most 96
    ///   characters, no `--` and no `..`, and neither part begins or ends with `-` or `.`.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, text.utf8.count <= 96, !text.contains("--"), !text.contains(".."),
            parts.allSatisfy({ part in
                part.utf8.allSatisfy(Self.isAllowed) && part.first.map { !"-.".contains($0) } == true
                    && part.last.map { !"-.".contains($0) } == true && !part.hasSuffix(".git")
            })
        else { return nil }
        description = text
    }

    /// The repository of a folder in the cache.
    init?(folder: String) {
        guard folder.hasPrefix("models--") else { return nil }
        self.init(String(folder.dropFirst("models--".count)).replacing("--", with: "/"))
    }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
            || "-_.".utf8.contains(byte)
    }
}

/// A branch, a tag or a commit of a repository.
package enum Revision {
    /// - Throws: for a name that could lead out of the cache's folder `refs`.
    package static func checked(_ text: String) throws(HubError) -> String {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard !text.isEmpty, text.utf8.count <= 200, parts.count <= 8,
            parts.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." }),
            text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && !#"\:?*[~^"#.utf8.contains($0) })
        else {
            throw HubError(
                .usage, "'\(printable(text))' is no revision; name a branch, a tag or a commit, such as main")
        }
        return text
    }

    /// Whether it is a commit, which never changes.
    static func isCommit(_ text: String) -> Bool {
        text.utf8.count == 40
            && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }
}

/// A file of a repository.
package struct RepositoryFile: Sendable, Hashable {
    /// Below the repository's root, checked to stay there.
    package let path: String
    package let size: Int
    package let hash: ContentHash

    /// No model has a larger file, and no disk of these days holds many.
    static let largest = 4 << 40

    /// - Returns: nil for a path that could lead out of a folder, or that systems read differently.
    static func isSafe(_ path: String) -> Bool {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        // A mark behind a slash makes both one character, which is no separator here and is one to the system.
        let slashes = path.utf8.reduce(0) { $0 + ($1 == UInt8(ascii: "/") ? 1 : 0) }
        return !path.isEmpty && path.utf8.count <= 1024 && parts.count <= 16 && parts.count == slashes + 1
            && parts.allSatisfy { part in
                !part.isEmpty && part != "." && part != ".." && part.utf8.count <= 255
            }
            && path.unicodeScalars.allSatisfy {
                // No control characters, nor those that turn a line of a terminal around.
                $0.value >= 0x20 && !(0x7F...0x9F).contains($0.value) && $0 != "\\" && $0 != ":"
                    && !(0x202A...0x202E).contains($0.value) && !(0x2066...0x2069).contains($0.value)
            }
    }

    var isAtRoot: Bool { !path.contains("/") }
}

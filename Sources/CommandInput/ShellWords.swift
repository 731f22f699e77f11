internal import Foundation

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Quotes and backslashes as a shell reads them.
public enum ShellWords {
    /// The text without its quotes and backslashes; nil when it has none or a quote is left open. White space stays.
    static func unquoted(_ text: String) -> String? {
        guard text.contains(where: { "'\"\\".contains($0) }) else { return nil }
        return split(text, atSpaces: false)?.first
    }

    /// The words of a line; nil when a quote is left open.
    public static func words(_ text: String) -> [String]? { split(text, atSpaces: true) }

    private static func split(_ text: String, atSpaces: Bool) -> [String]? {
        var words: [String] = []
        var word = ""
        var isWord = !atSpaces
        var quote: Character?
        var isEscaped = false
        for character in text {
            if isEscaped {
                // Inside double quotes a backslash is one, unless it keeps a quote or another one from being read.
                if quote == "\"", character != "\"", character != "\\" { word.append("\\") }
                word.append(character)
                isEscaped = false
            } else if character == "\\", quote != "'" {
                (isEscaped, isWord) = (true, true)
            } else if let open = quote {
                if character == open { quote = nil } else { word.append(character) }
            } else if character == "'" || character == "\"" {
                (quote, isWord) = (character, true)
            } else if atSpaces, character.isWhitespace {
                if isWord { words.append(word) }
                (word, isWord) = ("", false)
            } else {
                word.append(character)
                isWord = true
            }
        }
        guard quote == nil, !isEscaped else { return nil }
        if isWord { words.append(word) }
        return words
    }
}

/// `~` at the beginning of a path.
enum HomeFolder {
    /// - Returns: nil where there is no `~`, or no such user.
    static func expanding(_ text: String) -> String? {
        guard text.hasPrefix("~") else { return nil }
        let user = text.dropFirst().prefix { $0 != "/" }
        guard let home = folder(of: String(user)) else { return nil }
        return home + text.dropFirst(1 + user.count)
    }

    private static func folder(of user: String) -> String? {
        if user.isEmpty, let home = ProcessInfo.processInfo.environment["HOME"], !home.isEmpty { return home }
        guard let entry = user.isEmpty ? getpwuid(getuid()) : getpwnam(user),
            let folder = entry.pointee.pw_dir
        else { return nil }
        return String(cString: folder)
    }
}

/// Names of files as bytes.
enum FileNames {
    static func terminated(_ path: [UInt8]) -> [CChar] { path.map { CChar(bitPattern: $0) } + [0] }

    static func exists(_ path: [UInt8]) -> Bool {
        var information = stat()
        return !path.isEmpty && !path.contains(0) && lstat(terminated(path), &information) == 0
    }

    static func isFolder(_ path: [UInt8]) -> Bool {
        var information = stat()
        return stat(terminated(path), &information) == 0 && information.st_mode & S_IFMT == S_IFDIR
    }
}

import CheckpointFiles
import StrictJSON
import SystemFiles

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The tokenizer's files in a checkpoint folder.
struct TokenizerFolder {
    let url: URL

    /// - Throws: `TokenizationError.brokenLink` for a link that leads nowhere.
    func holds(_ name: String) throws(TokenizationError) -> Bool {
        let path = url.appending(path: name).path
        let presence = FilePresence(path: path)
        if case .brokenLink(let target) = presence { throw .brokenLink(file: path, target: target) }
        return presence != .absent
    }

    /// The object in the JSON file `name`; nil when there is no such file.
    func fields(_ name: String) throws(TokenizationError) -> JSONFields? {
        guard try holds(name) else { return nil }
        let file = url.appending(path: name)
        return try JSONFields(TokenizerDefinition.json(file), file: file.path, path: "")
    }
}

/// Finding and reading the tokenizer files of a checkpoint folder.
extension TokenizerDefinition {
    /// tokenizer.json when it is there, else vocab.json with merges.txt, else tokenizer.model.
    init(directory: URL) throws(TokenizationError) {
        let folder = TokenizerFolder(url: directory)
        if try folder.holds("tokenizer.json") {
            let file = directory.appending(path: "tokenizer.json")
            try self.init(tokenizerJSON: Self.json(file), file: file.path)
        } else if try folder.holds("vocab.json"), try folder.holds("merges.txt") {
            try self.init(vocabularyIn: folder)
        } else if try folder.holds("tokenizer.model") {
            try self.init(sentencePieceIn: folder)
        } else {
            throw .noTokenizer(directory: directory.path)
        }
        try addNeighbours(folder)
    }

    /// vocab.json and merges.txt. These files name no pattern: it follows from the class that
    /// tokenizer_config.json names, and is Qwen2's, with NFC, in Apple's checkpoints.
    private init(vocabularyIn folder: TokenizerFolder) throws(TokenizationError) {
        let mergesURL = folder.url.appending(path: "merges.txt")
        vocabularyFile = folder.url.appending(path: "vocab.json").path
        mergesFile = mergesURL.path
        vocabulary = try Self.tokensWithIDs(
            JSONFields(
                Self.json(folder.url.appending(path: "vocab.json")), file: vocabularyFile, path: ""))
        merges = try Self.merges(textFile: mergesURL)
        decoder = .byteLevel
        let configuration = try folder.fields("tokenizer_config.json")
        let name = try configuration?.string("tokenizer_class") ?? "Qwen2Tokenizer"
        switch name.hasSuffix("Fast") ? String(name.dropLast("Fast".count)) : name {
        case "Qwen2Tokenizer":
            normalizers = [.nfc]
            preTokenizer = .byteLevel([.pattern(.qwen2)])
        case "GPT2Tokenizer", "CodeGenTokenizer":
            let addsSpace = try configuration?.bool("add_prefix_space", default: false) ?? false
            preTokenizer = .byteLevel((addsSpace ? [.prefixSpace] : []) + [.pattern(.gpt2)])
        default:
            throw .unsupported(
                file: folder.url.appending(path: "tokenizer_config.json").path, key: "tokenizer_class",
                got: quoted(name),
                supported: "Qwen2Tokenizer, GPT2Tokenizer and CodeGenTokenizer without a tokenizer.json")
        }
    }

    /// One merge "a b" a line, after an optional first line "#version: …".
    private static func merges(textFile url: URL) throws(TokenizationError) -> [(left: String, right: String)]
    {
        guard let text = String(validating: try contents(url, expected: .text), as: UTF8.self) else {
            throw .unreadable(file: url.path, reason: "it is not UTF-8 text")
        }
        var result: [(left: String, right: String)] = []
        for (number, line) in text.utf8.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated()
        {
            let line = line.last == 0x0D ? line.dropLast() : line
            if line.isEmpty || (number == 0 && line.starts(with: "#version".utf8)) { continue }
            result.append(try merge(Substring(line), index: result.count, file: url.path))
        }
        try checkMergeCount(result.count, file: url.path)
        return result
    }

    static func json(_ url: URL) throws(TokenizationError) -> JSONValue {
        let data = try contents(url, expected: .json)
        // `Data` passes on untyped errors only; a result keeps the type.
        let document = data.withUnsafeBytes { text in
            Result { () throws(StrictJSONError) in try JSONParser.parse(text, limits: TokenizerLimits.json) }
        }
        do {
            return try document.get()
        } catch .overLimit(_, let what, let limit) {
            throw .overLimit(
                file: url.path, what: "the number of \(what)", limit: limit, got: "more")
        } catch {
            throw .invalidJSON(
                file: url.path, offset: error.offset, reason: error.reason, advice: error.advice)
        }
    }

    /// The bytes of a regular file of bounded size that may be what is expected.
    static func contents(
        _ url: URL, expected: ForeignContent.Expected
    ) throws(TokenizationError) -> Data {
        let bytes: [UInt8]
        do {
            // A pipe or device would never end.
            bytes = try BoundedFile.read(url.path, limit: TokenizerLimits.fileBytes, regularOnly: true)
        } catch {
            if let size = error.size {
                throw .overLimit(
                    file: url.path, what: "the size in bytes", limit: TokenizerLimits.fileBytes,
                    got: "\(size)")
            }
            throw .unreadable(file: url.path, reason: error.reason)
        }
        if let found = bytes.withUnsafeBytes({ ForeignContent($0, expected: expected) }) {
            throw .foreignContent(file: url.path, what: found.what, advice: found.advice)
        }
        return Data(bytes)
    }
}

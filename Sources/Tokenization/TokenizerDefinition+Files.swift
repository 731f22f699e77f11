import CheckpointFiles
import Foundation
import StrictJSON

/// Finding and reading the tokenizer files of a checkpoint folder.
extension TokenizerDefinition {
    /// tokenizer.json when it is there, else vocab.json with merges.txt.
    init(directory: URL) throws(TokenizationError) {
        func exists(_ name: String) throws(TokenizationError) -> Bool {
            let path = directory.appending(path: name).path
            if case .brokenLink(let target) = FilePresence(path: path) {
                throw .brokenLink(file: path, target: target)
            }
            return FilePresence(path: path) != .absent
        }
        if try exists("tokenizer.json") {
            let file = directory.appending(path: "tokenizer.json")
            try self.init(tokenizerJSON: Self.json(file), file: file.path)
        } else if try exists("vocab.json"), try exists("merges.txt") {
            try self.init(vocabularyIn: directory, exists: exists)
        } else if try exists("tokenizer.model") {
            throw .sentencePieceModelOnly(directory: directory.path)
        } else {
            throw .noTokenizer(directory: directory.path)
        }
    }

    /// Apple's checkpoints: vocab.json, merges.txt, added_tokens.json and the flags in tokenizer_config.json.
    /// These files name no pattern: it is Qwen2's, with NFC.
    private init(
        vocabularyIn directory: URL, exists: (String) throws(TokenizationError) -> Bool
    ) throws(TokenizationError) {
        let vocabularyURL = directory.appending(path: "vocab.json")
        let mergesURL = directory.appending(path: "merges.txt")
        vocabularyFile = vocabularyURL.path
        mergesFile = mergesURL.path
        let fields = try JSONFields(Self.json(vocabularyURL), file: vocabularyURL.path, path: "")
        vocabulary = try Self.tokensWithIDs(fields)
        merges = try Self.merges(textFile: mergesURL)
        normalizers = [.nfc]
        preTokenizer = .byteLevel(.qwen2, addsPrefixSpace: false)
        decoder = .byteLevel
        if try exists("tokenizer_config.json") {
            addedTokens = try Self.configuredTokens(directory.appending(path: "tokenizer_config.json"))
        }
        guard try exists("added_tokens.json") else { return }
        let addedURL = directory.appending(path: "added_tokens.json")
        let added = try JSONFields(Self.json(addedURL), file: addedURL.path, path: "")
        for (content, id) in try Self.tokensWithIDs(added) {
            let isKnown = addedTokens.contains { $0.id == id && $0.content.utf8.elementsEqual(content.utf8) }
            // The file has no flags; such tokens are control tokens.
            if !isKnown { addedTokens.append(try Self.controlToken(content, id, file: addedURL.path)) }
        }
    }

    private static func controlToken(
        _ content: String, _ id: Int, file: String
    ) throws(TokenizationError) -> AddedToken {
        let fields = try JSONFields(
            .object(JSONObject("special", .bool(true))), file: file, path: quoted(content))
        return try addedToken(fields, content, id)
    }

    /// `added_tokens_decoder` of tokenizer_config.json: an object from id, as text, to content and flags.
    private static func configuredTokens(_ url: URL) throws(TokenizationError) -> [AddedToken] {
        let root = try JSONFields(json(url), file: url.path, path: "")
        guard let decoder = try root.object("added_tokens_decoder") else { return [] }
        var tokens: [AddedToken] = []
        for member in decoder.object.members {
            let key = member.key
            let fields = try JSONFields(member.value, file: url.path, path: decoder.place(key))
            let content = try fields.requiredString("content")
            guard let number = Int(key) else {
                throw decoder.wrong(quoted(key), expected: "a token id as key", got: quoted(key))
            }
            let id = try JSONFields.tokenID(.integer(number), file: url.path, token: content)
            tokens.append(try addedToken(fields, content, id))
        }
        return tokens
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

    private static func json(_ url: URL) throws(TokenizationError) -> JSONValue {
        let data = try contents(url, expected: .json)
        // `Data` passes on untyped errors only; a result keeps the type.
        let document = data.withUnsafeBytes { text in
            Result { () throws(StrictJSONError) in try JSONParser.parse(text, limits: TokenizerLimits.json) }
        }
        do {
            return try document.get()
        } catch {
            throw .invalidJSON(
                file: url.path, offset: error.offset, reason: error.reason, advice: error.advice)
        }
    }

    /// The bytes of a regular file of bounded size that may be what is expected.
    private static func contents(
        _ url: URL, expected: ForeignContent.Expected
    ) throws(TokenizationError) -> Data {
        do {
            // Model caches are full of symbolic links; a pipe or device would never end.
            let values = try url.resolvingSymlinksInPath().resourceValues(
                forKeys: [.fileSizeKey, .isRegularFileKey])
            guard values.isRegularFile == true else {
                throw TokenizationError.unreadable(file: url.path, reason: "it is not a regular file")
            }
            let size = values.fileSize ?? 0
            guard size <= TokenizerLimits.fileBytes else {
                throw TokenizationError.overLimit(
                    file: url.path, what: "the size in bytes", limit: TokenizerLimits.fileBytes,
                    got: "\(size)")
            }
            let data = try Data(contentsOf: url)
            if let found = data.withUnsafeBytes({ ForeignContent($0, expected: expected) }) {
                throw TokenizationError.foreignContent(
                    file: url.path, what: found.what, advice: found.advice)
            }
            return data
        } catch let error as TokenizationError {
            throw error
        } catch {
            throw .unreadable(file: url.path, reason: error.localizedDescription)
        }
    }
}

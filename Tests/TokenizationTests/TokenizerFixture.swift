import Foundation
import TestSupport

@testable import Tokenization

/// One encoding case made by Tools/reference/tokenizer_fixtures.py.
struct EncodingCase: Decodable {
    var text: String
    var ids: [Int]
    /// Another split pattern or policy; nil for the tokenizer as it is.
    var variant: String?
    /// The decoded text without and with special tokens, where it differs from `text`.
    var decoded: String?
    var decodedAll: String?
}

/// One decoding case: any ids.
struct DecodingCase: Decodable {
    var ids: [Int]
    var decoded: String
    var decodedAll: String
}

enum TokenizerFixture {
    static func cases<Case: Decodable>(_ path: String, as type: Case.Type = Case.self) throws -> [Case] {
        try JSONDecoder().decode([Case].self, from: Fixture.data("tokenizer/\(path)"))
    }

    /// Loads the tokenizer of a fixture folder.
    static func tokenizer(_ folder: String) throws -> Tokenizer {
        try Tokenizer(directory: Fixture.url("tokenizer/\(folder)"))
    }

    /// The parsed tokenizer.json of a fixture folder.
    static func document(_ folder: String) throws -> [String: Any] {
        let data = try Fixture.data("tokenizer/\(folder)/tokenizer.json")
        return try JSONSerialization.jsonObject(with: data) as? [String: Any] ?? [:]
    }

    /// Calls `body` with a fresh folder that holds `files`, and removes it afterwards.
    @discardableResult
    static func withFolder<Result>(
        _ files: [String: Data], _ body: (URL) throws -> Result
    ) throws -> Result {
        let folder = FileManager.default.temporaryDirectory.appending(path: "tokenizer-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        for (name, data) in files { try data.write(to: folder.appending(path: name)) }
        return try body(folder)
    }

    /// Loads a tokenizer.json given as JSON text or bytes.
    static func load(_ json: Data) throws -> Tokenizer {
        try withFolder(["tokenizer.json": json]) { try Tokenizer(directory: $0) }
    }

    /// A fixture tokenizer with another split pattern.
    static func tokenizer(_ folder: String, pattern: SplitPattern) throws -> Tokenizer {
        let text = String(decoding: try Fixture.data("tokenizer/\(folder)/tokenizer.json"), as: UTF8.self)
        func escaped(_ regex: String) -> String { regex.replacingOccurrences(of: "\\", with: "\\\\") }
        let changed = text.replacingOccurrences(
            of: escaped(SplitPattern.qwen2.regex), with: escaped(pattern.regex))
        return try load(Data(changed.utf8))
    }

    /// Where the generator puts the full vocabulary; nil when it was not run on this machine.
    static func downloads(_ folder: String) -> URL? {
        let root =
            ProcessInfo.processInfo.environment["FASTVLM_TOKENIZER_DOWNLOADS"].map { URL(filePath: $0) }
            ?? Fixture.root.deletingLastPathComponent().deletingLastPathComponent().appending(
                path: "downloads")
        let url = root.appending(path: folder)
        return FileManager.default.fileExists(atPath: url.path) ? url : nil
    }
}

/// Text as scalars: string equality would let canonically equivalent text pass.
func scalars(_ text: String) -> [UInt32] { text.unicodeScalars.map(\.value) }

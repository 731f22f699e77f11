import Foundation
import TestSupport
import Testing

@testable import Tokenization

/// Files of a tokenizer that are something else, and links that lead nowhere.
struct ForeignFileTests {
    static let kinds: [(name: String, bytes: Data, words: [String])] = [
        ("empty", Data(), ["empty", "fetch the file again"]),
        ("zeros", Data(count: 5000), ["zero bytes"]),
        (
            "Git LFS pointer",
            Data("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 11418266\n".utf8),
            ["Git LFS pointer", "11418266", "git lfs pull"]
        ),
        ("web page", Data("<!doctype html><html>".utf8), ["web page", "resolve"]),
        ("zip", Data([0x50, 0x4B, 3, 4, 20, 0]), ["zip archive", "unpack"]),
        ("UTF-16", Data([0xFF, 0xFE, 0x7B, 0]), ["UTF-16", "UTF-8"]),
    ]

    static func error(in folder: URL) -> TokenizationError? {
        do {
            _ = try Tokenizer(directory: folder)
            return nil
        } catch {
            return error
        }
    }

    static func withCopy(of folder: String, _ body: (URL) throws -> Void) throws {
        let copy = FileManager.default.temporaryDirectory.appending(path: "tokenizer-\(UUID())")
        try FileManager.default.copyItem(at: Fixture.url("models/\(folder)"), to: copy)
        defer { try? FileManager.default.removeItem(at: copy) }
        try body(copy)
    }

    static let files = [
        ("tiny-hf", "tokenizer.json"), ("tiny-apple-train", "vocab.json"), ("tiny-apple-train", "merges.txt"),
        ("tiny-apple-train", "added_tokens.json"), ("tiny-apple-train", "tokenizer_config.json"),
    ]

    @Test("a file that is something else says what, and what helps", arguments: files, kinds)
    func foreign(place: (folder: String, file: String), kind: (name: String, bytes: Data, words: [String]))
        throws
    {
        try Self.withCopy(of: place.folder) { folder in
            let url = folder.appending(path: place.file)
            try kind.bytes.write(to: url)
            guard case .foreignContent(url.path, _, _)? = Self.error(in: folder) else {
                Issue.record("\(kind.name) in \(place.file): \(String(describing: Self.error(in: folder)))")
                return
            }
            let text = Self.error(in: folder).map { "\($0)" } ?? ""
            for word in kind.words { #expect(text.contains(word), "\(text)") }
        }
    }

    @Test("the error of a hub in place of tokenizer.json is repeated")
    func hub() throws {
        try Self.withCopy(of: "tiny-hf") { folder in
            try Data("{\"error\":\"Access to model a/b is restricted\"}".utf8)
                .write(to: folder.appending(path: "tokenizer.json"))
            #expect(
                "\(String(describing: Self.error(in: folder)))".contains("Access to model a/b is restricted"))
        }
    }

    @Test("a link that leads nowhere is an error that names its target, not an absent file", arguments: files)
    func brokenLinks(folder: String, file: String) throws {
        try Self.withCopy(of: folder) { folder in
            let url = folder.appending(path: file)
            try FileManager.default.removeItem(at: url)
            try FileManager.default.createSymbolicLink(atPath: url.path, withDestinationPath: "../blobs/0abc")
            #expect(Self.error(in: folder) == .brokenLink(file: url.path, target: "../blobs/0abc"))
        }
    }
}

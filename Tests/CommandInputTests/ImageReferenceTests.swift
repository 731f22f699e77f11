import Foundation
import Testing

@testable import CommandInput

@Suite("Words for images")
struct ImageReferenceTests {
    private static let home = ProcessInfo.processInfo.environment["HOME"] ?? NSHomeDirectory()

    private static func reference(_ text: String, files: [String] = [], limit: Int = 1000) throws
        -> ImageReference
    {
        try ImageReference(text, limit: limit) { path in
            files.contains { Array($0.utf8) == path }
        }
    }

    private static func file(_ path: String) -> ImageReference { .file(Array(path.utf8)) }

    @Test(
        "Paths as shells and file managers write them",
        arguments: [
            ("a.jpg", "a.jpg"), ("my photo.jpg", "my photo.jpg"), ("'my photo.jpg'", "my photo.jpg"),
            ("\"my photo.jpg\"", "my photo.jpg"), ("my\\ photo.jpg", "my photo.jpg"),
            ("'it'\\''s.jpg'", "it's.jpg"), ("it\\'s.jpg", "it's.jpg"),
            ("\"a \\\"b\\\".jpg\"", "a \"b\".jpg"),
            ("/tmp/a\\(1\\).png", "/tmp/a(1).png"), ("\"C:\\pictures\"", "C:\\pictures"),
            ("file:///tmp/my%20photo.jpg", "/tmp/my photo.jpg"), ("file://localhost/a", "/a"),
            ("FILE:/a%C3%A9", "/aé"), ("'file:///a'", "/a"), ("~/a.jpg", home + "/a.jpg"), ("~", home),
            ("'~/my photo.jpg'", home + "/my photo.jpg"), ("~/my\\ photo.jpg", home + "/my photo.jpg"),
        ])
    func paths(text: String, path: String) throws {
        #expect(try Self.reference(text, files: [path]) == Self.file(path))
    }

    @Test(
        "A file that is called so goes before every other reading",
        arguments: ["'a'", "a\\b", "data:a", "~", "file:///a", "https://a", "\"", "a%20b"])
    func literal(name: String) throws {
        #expect(try Self.reference(name, files: [name, "a", "ab"]) == Self.file(name))
    }

    @Test(
        "What is not there keeps the name that was written",
        arguments: ["a b.jpg", "'a.jpg'", "a\\ b", "\"a"])
    func missing(name: String) throws {
        #expect(try Self.reference(name) == Self.file(name))
        #expect(try Self.reference("~/none") == Self.file(Self.home + "/none"))
        #expect(try Self.reference("~nobody-of-that-name/a") == Self.file("~nobody-of-that-name/a"))
    }

    @Test("The home folder of another user", .enabled(if: getpwnam("root") != nil))
    func otherHome() throws {
        let home = String(cString: try #require(getpwnam("root")?.pointee.pw_dir))
        #expect(try Self.reference("~root/a") == Self.file(home + "/a"))
    }

    @Test(
        "data: URIs in base64 and with percent signs",
        arguments: [
            "data:image/png;base64,/+8AAQ==", "data:image/png;base64,_-8AAQ", "DATA:;BASE64,/+8A AQ==",
            "data:image/png;charset=x;base64,%2F%2B8AAQ%3D%3D", "data:,%FF%ef%00%01",
            "data:application/octet-stream,%ff%EF%00%01",
        ])
    func dataAddresses(text: String) throws {
        #expect(try Self.reference(text) == .data(Data([0xFF, 0xEF, 0, 1])))
    }

    @Test(
        "What cannot be understood is refused with what to do",
        arguments: [
            ("data:image/png;base64", "comma"), ("data:;base64,!!!!", "base64"),
            ("data:;base64,AAAAA", "base64"),
            ("data:,%f", "percent"), ("data:,%zz", "percent"), ("file://server/a", "of the machine 'server'"),
            ("file:a", "file:///"), ("file:///%2", "file:///"), ("file:///a%00b", "file:///"), ("", "empty"),
            ("ftp://a/b.jpg", "ftp"), ("s3://bucket/a.jpg", "s3"), ("https://", "web address"),
            ("https://user:secret@host/a.jpg", "password"), ("http:///a", "web address"),
        ])
    func refused(text: String, mention: String) throws {
        let error = #expect(throws: InputError.self) { try Self.reference(text) }
        let words = error.map { "\($0)" } ?? ""
        #expect(words.contains(mention) && words.contains("; "), "\(words)")
        #expect(!words.contains("secret"))
    }

    @Test("data: URIs are bounded, before and after they are decoded")
    func bounded() throws {
        let most = "data:;base64," + Data(count: 1000).base64EncodedString()
        #expect(try Self.reference(most) == .data(Data(count: 1000)))
        for text in [
            "data:;base64," + Data(count: 1001).base64EncodedString(),
            "data:," + String(repeating: "a", count: 1001), "data:," + String(repeating: "a", count: 100_000),
        ] {
            let error = #expect(throws: InputError.self) { try Self.reference(text) }
            #expect(error?.description.contains("1000 bytes") == true)
        }
    }

    @Test("Addresses of the web", arguments: ["https://a.org/b.jpg?c=d#e", "HTTP://127.0.0.1:8080/x"])
    func web(text: String) throws {
        #expect(try Self.reference(text) == .web(try #require(URL(string: text))))
    }

    @Test("Names with bytes that are no UTF-8 keep them")
    func foreignBytes() throws {
        for bytes in [
            [0xFF], [0x61, 0xE9, 0x62], [0xC3, 0xA9, 0xC3], [0xED, 0xA0, 0x80], [0xF5, 0x80, 0x2E],
        ] as [[UInt8]] {
            let text = ByteText.text(bytes)
            #expect(ByteText.bytes(text) == bytes && ByteText.hasForeignBytes(text))
            #expect(ByteText.shown(text).contains("\u{FFFD}"))
            #expect(try ImageReference(text, limit: 0) { $0 == bytes } == .file(bytes))
        }
        #expect(ByteText.text(Array("é漢🙂".utf8)) == "é漢🙂" && !ByteText.hasForeignBytes("é漢🙂"))
        #expect(try Self.reference("file:///%FF") == .file([0x2F, 0xFF]))
    }

    @Test(
        "Words of a line",
        arguments: [
            ("a b", ["a", "b"]), (" 'a b'  c\\ d ", ["a b", "c d"]), ("a''b", ["ab"]), ("''", [""]), ("", []),
        ])
    func words(text: String, words: [String]) {
        #expect(ShellWords.words(text) == words)
        #expect(ShellWords.words("'a") == nil && ShellWords.words("a\\") == nil)
    }
}

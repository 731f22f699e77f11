import Foundation
import TestSupport
import Testing
import WireFormats

@Suite("Images in requests")
struct ImageReferenceTests {
    @Test("Base64 of any length comes back, in either alphabet, with and without padding and line breaks")
    func base64() throws {
        var random = SeededGenerator()
        for length in 1...70 {
            let bytes = Data((0..<length).map { _ in UInt8.random(in: 0...255, using: &random) })
            let text = bytes.base64EncodedString()
            let lines = bytes.base64EncodedString(options: [
                .lineLength64Characters, .endLineWithCarriageReturn,
            ])
            let bare = text.replacing("=", with: "")
            let url = text.replacing("+", with: "-").replacing("/", with: "_")
            for form in [text, lines, bare, url, " \(text)\r\n"] {
                #expect(Base64.decode(form[...]) == bytes, "\(form)")
            }
        }
    }

    @Test(
        "What is no base64 is refused",
        arguments: [
            "A", "AAAAA", "AA=A", "A===", "AAAA=", "AA=", "AA===", "Ä", "AA\u{0}A", "/etc/passwd.", "a b%c",
        ])
    func damage(text: String) {
        #expect(Base64.decode(text[...]) == nil)
    }

    @Test("All forms that clients write are the same image")
    func forms() throws {
        let bytes = Data([0xFF, 0xD8, 0xFF, 0xE0])
        let text = bytes.base64EncodedString()
        for url in [
            "data:image/jpeg;base64,\(text)", "data:;base64,\(text)",
            "DATA:image/png;charset=utf-8;base64,\(text)",
            "data:image/jpg;base64,\(text.replacing("=", with: ""))", text,
        ] {
            #expect(try ImageReference(url: url, parameter: "x") == .data(bytes), "\(url)")
            #expect(try ImageReference(base64: url, parameter: "x") == .data(bytes), "\(url)")
        }
    }

    @Test("An address is no base64, and nothing is a path")
    func addresses() throws {
        #expect(
            try ImageReference(url: "https://example.org/a.png", parameter: "x")
                == .address("https://example.org/a.png"))
        #expect(
            try ImageReference(url: "HTTP://example.org", parameter: "x") == .address("HTTP://example.org"))
        for url in [
            "file:///etc/passwd", "../photo.jpg", "", "data:,hello", "data:image/png;base64,", "ftp://x",
        ] {
            #expect(throws: RequestError.self, "\(url)") { try ImageReference(url: url, parameter: "x") }
        }
        #expect(throws: RequestError.self) {
            try ImageReference(base64: "https://example.org", parameter: "x")
        }
    }
}

import Foundation
import Testing
import WireFormats

@Suite("Forms with files")
struct MultipartFormTests {
    private let type = "multipart/form-data; boundary=XX"

    private func body(_ text: String) -> Data { Data(text.replacing("\n", with: "\r\n").utf8) }

    @Test("Parts come with their names, their bytes unchanged")
    func parts() throws {
        var form = body(
            "--XX\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\nContent-Type: image/png\n\n"
        )
        let bytes = Data([0, 13, 10, 45, 45, 88, 13, 10, 255])
        form.append(bytes)
        form.append(
            body(
                "\n--XX\ncontent-disposition: form-data; name=prompt\n\nWhat is this?\n--XX\nContent-Disposition: form-data; name=\"empty\"\n\n\n--XX--\n"
            ))
        let parsed = try MultipartForm(contentType: type, body: form)
        #expect(parsed.parts.map(\.name) == ["file", "prompt", "empty"])
        #expect(parsed.part("file")?.data == bytes && parsed.part("file")?.fileName == "a.png")
        #expect(try parsed.text("prompt") == "What is this?" && parsed.text("empty") == "")
        #expect(try parsed.text("none") == nil)
        // A slice does not begin at 0.
        let slice = (Data([1, 2, 3]) + form).dropFirst(3)
        #expect(try MultipartForm(contentType: type, body: slice) == parsed)
    }

    @Test("Every beginning of a form is refused, and nothing else happens")
    func truncation() throws {
        let form = body("--XX\nContent-Disposition: form-data; name=\"a\"\n\nhello\n--XX--")
        for count in 0..<form.count {
            #expect(throws: RequestError.self, "\(count)") {
                try MultipartForm(contentType: type, body: form.prefix(count))
            }
        }
        #expect(try MultipartForm(contentType: type, body: form).text("a") == "hello")
    }

    @Test("What is no form is refused")
    func refusals() {
        let form = body("--XX\nContent-Disposition: form-data; name=\"a\"\n\nhello\n--XX--")
        for type in [
            "", "text/plain", "multipart/form-data", "multipart/form-data; boundary=", "application/json",
        ] {
            #expect(throws: RequestError.self) { try MultipartForm(contentType: type, body: form) }
        }
        let many =
            String(repeating: "--XX\nContent-Disposition: form-data; name=\"a\"\n\nb\n", count: 100)
            + "--XX--"
        #expect(throws: RequestError.self) { try MultipartForm(contentType: type, body: body(many)) }
        let long =
            "--XX\nContent-Disposition: form-data; name=\"\(String(repeating: "a", count: 9000))\"\n\nb\n--XX--"
        #expect(throws: RequestError.self) { try MultipartForm(contentType: type, body: body(long)) }
        #expect(throws: RequestError.self) {
            try MultipartForm(contentType: type, body: body("--XX\nX: y\n\nb\n--XX--"))
        }
    }
}

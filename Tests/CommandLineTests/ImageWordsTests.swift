import Foundation
import TestSupport
import Testing

/// Images as people name them, in every command that takes one.
@Suite("Names of images")
struct ImageWordsTests {
    private static let options = ["--model", Program.model, "--max-tokens", "4", "-q"]

    private static func describe(_ arguments: String...) throws -> Outcome {
        try Program.run(["describe"] + arguments + options)
    }

    private static let expected = Result { try describe(Program.image, "What?").output }

    @Test("Addresses of files, data and the web, quotes and the home folder lead to the image")
    func words() throws {
        let expected = try Self.expected.get()
        let picture = try Data(contentsOf: URL(filePath: Program.image))
        let server = try LocalServer { path, port in
            path == "/a"
                ? .response(302, ["Location: http://127.0.0.1:\(port)/b"], Data())
                : .response(200, [], picture)
        }
        defer { server.stop() }
        try Program.inFolder { folder in
            let file = folder.appending(path: "my photo.png")
            try picture.write(to: file)
            for name in [
                file.absoluteString, "'\(file.path)'", file.path.replacing(" ", with: "\\ "),
                "data:image/png;base64,\(picture.base64EncodedString())", server.url("a"), "~/my photo.png",
            ] {
                let outcome = try Program.run(
                    ["describe", name, "What?"] + Self.options, environment: ["HOME": folder.path])
                #expect(outcome.status == 0 && outcome.output == expected, "\(name): \(outcome.errors)")
            }
            // As features too, and as the only argument.
            let features = try Program.run(["encode", server.url("a"), "-o", "-"] + Self.options.prefix(2))
            #expect(features.status == 0 && features.output.count > 9 * 192 * 4)
            #expect(try Self.describe(file.absoluteString).status == 0)
        }
    }

    @Test("Names with bytes that are no UTF-8 open, and are shown with a sign for them")
    func foreignBytes() throws {
        try Program.inFolder { folder in
            let expected = try Self.expected.get()
            let make = #"f=$'a\xff\xe9.png'; cp "$image" "$f" 2>/dev/null && "#
            let question = #""What?" --model $model --max-tokens 4 -q"#
            let outcome = try Program.shell(make + #"exec $fastvlm describe "$f" \#(question)"#, in: folder)
            #expect(outcome.status == 0 && outcome.output == expected, "\(outcome.errors)")
            let encoded = try Program.shell(
                make + #"exec $fastvlm encode "$f" -o "$f" --model $model"#, in: folder)
            #expect(encoded.status == 74 && encoded.errors.contains("not UTF-8"), "\(encoded.errors)")
            let chat = try Program.shell(
                make + #"printf '/image %s\nWhat?\n' "$f" | $fastvlm chat --model $model --max-tokens 4 -q"#,
                in: folder)
            #expect(chat.status == 0 && chat.output == expected, "\(chat.errors)")
            let missing = try Program.shell(
                #"exec $fastvlm describe $'none\xff.png' \#(question)"#, in: folder)
            #expect(missing.status == 65 && missing.errors.contains("none\u{FFFD}.png"), "\(missing.errors)")
        }
    }

    @Test(
        "The last argument is never a question when it looks like an image",
        arguments: ["missing.gif", "other photo.JPG", "photos/b", "./none", "~/none.png", "x.heic"])
    func neverQuestion(name: String) throws {
        let outcome = try Self.describe(Program.image, name)
        #expect(outcome.status == 65 && outcome.output.isEmpty, "\(name)")
        #expect(outcome.errors.contains("no such file") && outcome.errors.contains("--prompt"))
        #expect(outcome.errors.contains(name.replacing("~", with: NSHomeDirectory())), "\(outcome.errors)")
        // Explicitly, it can be asked.
        #expect(try Self.describe(Program.image, "--prompt", name).status == 0)
    }

    @Test("Questions with slashes stay questions", arguments: ["What is 3/4?", "and/or?", "Is this b.jpg?"])
    func question(text: String) throws {
        let outcome = try Self.describe(Program.image, text)
        #expect(outcome.status == 0, "\(outcome.errors)")
    }

    @Test("A file whose name begins with a dash: how to name it is said, and works")
    func dashes() throws {
        try Program.inFolder { folder in
            for name in ["-x.png", "--photo.jpg", "-v"] {
                let file = folder.appending(path: name)
                try FileManager.default.copyItem(atPath: Program.image, toPath: file.path)
                let options = "--model $model --max-tokens 4 -q"
                let wrong = try Program.shell("exec $fastvlm describe \(name)x.png \(options)", in: folder)
                #expect(wrong.status == 64 && wrong.errors.contains("./\(name)x.png"), "\(wrong.errors)")
                #expect(wrong.errors.contains("after --"))
                for right in ["./\(name) \(options)", "\(options) -- \(name)"] {
                    let outcome = try Program.shell("exec $fastvlm describe \(right)", in: folder)
                    #expect(outcome.status == 0, "\(right): \(outcome.errors)")
                }
            }
            let unknown = try Program.run(["describe", "--no-such-option"])
            #expect(unknown.status == 64 && !unknown.errors.contains("./"))
        }
    }

    @Test(
        "What cannot be understood or fetched ends with 65 and says why",
        arguments: [
            ("data:image/png;base64", "comma"), ("file://server/a.png", "of the machine"),
            ("ftp://a/b.png", "ftp"),
            ("https://user:secret@127.0.0.1/a.png", "password"), ("http://127.0.0.1:1/a.png", "cannot fetch"),
        ])
    func refused(name: String, reason: String) throws {
        let outcome = try Self.describe(name, "What?")
        #expect(outcome.status == 65 && outcome.output.isEmpty)
        #expect(outcome.errors.contains(reason) && !outcome.errors.contains("secret"), "\(outcome.errors)")
    }

    @Test("A page in the place of an image is named as such")
    func page() throws {
        let server = try LocalServer { path, _ in
            path == "/none.png"
                ? .response(404, [], Data()) : .response(200, [], Data("<!doctype html>".utf8))
        }
        defer { server.stop() }
        let outcome = try Self.describe(server.url("a.png"), "What?")
        #expect(outcome.status == 65 && outcome.errors.contains("HTML"), "\(outcome.errors)")
        let missing = try Self.describe(server.url("none.png"), "What?")
        #expect(missing.status == 65 && missing.errors.contains("404"), "\(missing.errors)")
    }
}

import Foundation
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

@Suite("fastvlm batch, as a process")
struct BatchCommandTests {
    private static let model = ["--model", Program.model, "--precision", "float32"]
    private static let quick = model + ["--max-tokens", "3", "--no-timings"]

    private func lines(_ count: Int, image: Bool = false) -> Data {
        Data(
            (0..<count).map { number in
                let image = image ? "\"image\":\"\(Program.image)\"," : ""
                return "{\"id\":\"q\(number)\",\(image)\"question\":\"What is number \(number)?\"}\n"
            }.joined().utf8)
    }

    private func ids(_ text: String) throws -> [String] {
        try text.split(separator: "\n").map { line in
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
            return try #require(object?["id"] as? String)
        }
    }

    private func batch(_ arguments: [String], input: Data = Data()) throws -> Outcome {
        try Program.run(["batch"] + arguments + Self.quick, input: input)
    }

    @Test("From stdin to stdout, in order, the same as one question after the other and as any company")
    func streams() throws {
        let input = lines(12, image: true)
        let outcome = try batch([], input: input)
        #expect(outcome.status == 0, "\(outcome.errors)")
        #expect(try ids(outcome.text) == (0..<12).map { "q\($0)" })
        #expect(outcome.errors.contains("12 answered in ") && outcome.errors.contains("per "))
        #expect(!outcome.errors.contains("\r"))
        let single = try batch(["--parallel", "1", "--quiet"], input: input)
        #expect(single.text == outcome.text && single.errors.isEmpty)
        let described = try Program.run(
            ["describe", Program.image, "What is number 3?", "--max-tokens", "3", "--json"] + Self.model)
        #expect(try outcome.object(3)["text"] as? String == described.object()["text"] as? String)
        let unordered = try batch(["--unordered"], input: input)
        #expect(
            unordered.text.split(separator: "\n").sorted() == outcome.text.split(separator: "\n").sorted())
    }

    @Test("A failed item is an error in its place and in the exit status; the others are answered")
    func failures() throws {
        let input = Data(
            """
            {"id":"a","question":"?"}
            {"id":"b","image":"none.png","question":"?"}
            {"id":"c","imag":"x","question":"?"}

            """.utf8)
        let outcome = try batch([], input: input)
        #expect(outcome.status == 1)
        #expect(try ids(outcome.text) == ["a", "b", "c"])
        let error = try outcome.object(1)["error"] as? [String: Any]
        #expect(error?["code"] as? String == "unreadable_image")
        #expect(outcome.errors.contains("1 of 3 items have no answer"))
        #expect(outcome.errors.contains("note: the field 'imag' is not read"))
    }

    @Test("Shards together are the whole, each can be resumed, and nothing is answered twice")
    func shards() throws {
        try Program.inFolder { folder in
            let input = folder.appending(path: "in.jsonl").path
            try lines(20).write(to: URL(filePath: input))
            let whole = try batch([input]).text.split(separator: "\n").sorted()
            var parts: [Substring] = []
            for number in 1...3 {
                let output = folder.appending(path: "out-\(number)").path
                let arguments = [input, "-o", output, "--shard", "\(number)/3"]
                #expect(try batch(arguments).status == 0)
                let text = try String(contentsOfFile: output, encoding: .utf8)
                // Half of it again.
                let half = Data(text.utf8.prefix(text.utf8.count / 2))
                try half.write(to: URL(filePath: output))
                let resumed = try batch(arguments + ["--resume"])
                #expect(resumed.status == 0 && resumed.output.isEmpty)
                #expect(try String(contentsOfFile: output, encoding: .utf8) == text)
                let nothing = try batch(arguments + ["--resume"])
                #expect(nothing.status == 0 && nothing.errors.contains("0 answered"))
                #expect(try String(contentsOfFile: output, encoding: .utf8) == text)
                parts += text.split(separator: "\n")
            }
            #expect(parts.sorted() == whole)
        }
    }

    @Test("Killed in the middle, and resumed: every item once", arguments: [SIGKILL, SIGTERM, SIGINT])
    func interrupted(_ signal: Int32) throws {
        try Program.inFolder { folder in
            let input = folder.appending(path: "in.jsonl").path
            let output = folder.appending(path: "out.jsonl").path
            try lines(400).write(to: URL(filePath: input))
            let arguments =
                ["batch", input, "-o", output] + Self.model + ["--max-tokens", "24", "--no-timings"]
            let process = try Program.start(arguments)
            func size() -> Int {
                (try? FileManager.default.attributesOfItem(atPath: output)[.size] as? Int) ?? 0
            }
            while process.isRunning, size() == 0 { usleep(1000) }
            kill(process.processIdentifier, signal)
            process.waitUntilExit()
            let text = try String(contentsOfFile: output, encoding: .utf8)
            let first = try ids(text)
            try #require(!first.isEmpty && first.count < 400)
            if signal != SIGKILL {
                #expect(process.terminationReason == .exit && process.terminationStatus == 128 + signal)
            }
            #expect(text.hasSuffix("\n") && first == (0..<first.count).map { "q\($0)" })
            // What a power failure would leave.
            try Data((text + "{\"id\":\"q9").utf8).write(to: URL(filePath: output))
            #expect(try Program.run(arguments + ["--resume", "--quiet"]).status == 0)
            let all = try String(contentsOfFile: output, encoding: .utf8)
            #expect(all.hasPrefix(text))
            #expect(try ids(all) == (0..<400).map { "q\($0)" })
        }
    }

    @Test("An output that is none of ours, or that is there already, is refused and stays")
    func outputs() throws {
        try Program.inFolder { folder in
            let input = folder.appending(path: "in.jsonl").path
            let output = folder.appending(path: "out.jsonl").path
            try lines(2).write(to: URL(filePath: input))
            for text in ["my notes", "my notes\n", "{\"id\":1,\"name\":\"x\"}\n"] {
                try Data(text.utf8).write(to: URL(filePath: output))
                for resume in [[], ["--resume"]] {
                    let outcome = try batch([input, "-o", output] + resume)
                    #expect(outcome.status == 74 && outcome.errors.contains("out.jsonl"), "\(outcome.errors)")
                    #expect(try String(contentsOfFile: output, encoding: .utf8) == text)
                }
            }
            #expect(try batch([input, "-o", input, "--resume"]).status == 74)
            #expect(try Data(contentsOf: URL(filePath: input)) == lines(2))
            #expect(try batch([input, "-o", folder.path]).status == 74)
            // What fails before anything was written leaves nothing behind.
            let none = folder.appending(path: "none").path
            #expect(try Program.run(["batch", input, "-o", none, "--model", folder.path]).status == 69)
            #expect(!FileManager.default.fileExists(atPath: none))
        }
    }

    @Test("A disk that is full leaves whole lines, and the run goes on with them later")
    func full() throws {
        try Program.inFolder { folder in
            let input = folder.appending(path: "in.jsonl").path
            let output = folder.appending(path: "out.jsonl").path
            try lines(30).write(to: URL(filePath: input))
            let arguments = ["batch", input, "-o", output] + Self.quick
            let command = arguments.map { "'\($0)'" }.joined(separator: " ")
            let outcome = try Program.shell("ulimit -f 1; $fastvlm \(command)")
            #expect(outcome.status == 74, "\(outcome.errors)")
            let text = try String(contentsOfFile: output, encoding: .utf8)
            #expect(text.hasSuffix("\n") && text.utf8.count <= 1024)
            #expect(try Program.run(arguments + ["--resume"]).status == 0)
            #expect(
                try ids(String(contentsOfFile: output, encoding: .utf8)) == (0..<30).map { "q\($0)" })
        }
    }

    @Test("The images of a folder, with one question")
    func folder() throws {
        try Program.inFolder { folder in
            for name in ["b.png", "a/c.png", "a.png"] {
                let url = folder.appending(path: name)
                try FileManager.default.createDirectory(
                    at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
                try FileManager.default.copyItem(at: URL(filePath: Program.image), to: url)
            }
            try Data("no image".utf8).write(to: folder.appending(path: "notes.txt"))
            let outcome = try batch(["--images", folder.path, "What is this?"])
            #expect(outcome.status == 0, "\(outcome.errors)")
            #expect(try ids(outcome.text) == ["a.png", "a/c.png", "b.png"])
            let described = try Program.run(
                ["describe", Program.image, "What is this?", "--max-tokens", "3", "--json"] + Self.model)
            for line in 0..<3 {
                #expect(try outcome.object(line)["text"] as? String == described.object()["text"] as? String)
            }
            #expect(try batch(["--images", folder.appending(path: "none").path]).status == 64)
        }
    }

    @Test(
        "Relative paths begin beside the input, or where --image-root says; --prompt is for lines without a question"
    )
    func roots() throws {
        try Program.inFolder { folder in
            try FileManager.default.createDirectory(
                at: folder.appending(path: "sub"), withIntermediateDirectories: true)
            try FileManager.default.copyItem(
                at: URL(filePath: Program.image), to: folder.appending(path: "sub/~a.png"))
            let input = folder.appending(path: "sub/in.jsonl").path
            try Data("{\"image\":\"~a.png\"}\n".utf8).write(to: URL(filePath: input))
            #expect(try batch([input]).status == 1)
            #expect(try batch([input, "--prompt", "What is this?"]).status == 0)
            #expect(try batch([input, "--prompt", "?", "--image-root", folder.path]).status == 1)
            let moved = Data("{\"image\":\"sub/~a.png\"}\n".utf8)
            #expect(try batch(["--prompt", "?", "--image-root", folder.path], input: moved).status == 0)
        }
    }

    @Test("Usage that makes no sense is refused before anything is loaded")
    func usage() throws {
        for arguments in [
            ["--resume"], ["--parallel", "0"], ["--shard", "3/2"], ["--placeholders"],
            ["--images", ".", "a", "--prompt", "b"], ["--images", ".", "--image-root", "."],
            ["--allow-remote-images=http://"], ["none.jsonl"], ["."], ["--max-line-mib", "0"],
        ] {
            let outcome = try Program.run(["batch"] + arguments)
            #expect(outcome.status == 64, "\(arguments) \(outcome.errors)")
            #expect(outcome.output.isEmpty && !outcome.errors.isEmpty)
        }
    }
}

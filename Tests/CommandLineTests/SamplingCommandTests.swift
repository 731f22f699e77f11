import Foundation
import TestSupport
import Testing

/// What a checkpoint's own files say about templates and sampling, seen from outside.
@Suite("Templates and sampling of the checkpoint")
struct SamplingCommandTests {
    /// Describes an image with a copy of the small model in which one file is replaced.
    private func describe(_ file: String, _ text: String, _ arguments: [String]) throws -> Outcome {
        try Program.inFolder { folder in
            let copy = folder.appending(path: "model")
            try FileManager.default.copyItem(at: URL(filePath: Program.model), to: copy)
            try? FileManager.default.removeItem(at: copy.appending(path: file))
            try Data(text.utf8).write(to: copy.appending(path: file))
            return try Program.run(
                [
                    "describe", "--model", copy.path, "--precision", "float32", "--json", "--max-tokens", "8",
                    Program.image, "What is this?",
                ] + arguments)
        }
    }

    private func tokens(_ configuration: String, _ arguments: [String]) throws -> [Int] {
        let outcome = try describe("generation_config.json", configuration, arguments)
        #expect(outcome.status == 0, "\(outcome.errors)")
        return try #require(try outcome.object()["token_ids"] as? [Int])
    }

    @Test(
        "--sampling checkpoint takes generation_config.json, given options override it, greedy is the default"
    )
    func sampling() throws {
        let drawing = #"{"do_sample": true, "temperature": 50, "top_k": 0}"#
        let greedy = try tokens(drawing, [])
        #expect(try tokens(drawing, ["--sampling", "greedy"]) == greedy)
        let drawn = try tokens(drawing, ["--sampling", "checkpoint", "--seed", "1"])
        #expect(drawn != greedy)
        #expect(
            try tokens("{}", ["--temperature", "50", "--top-k", "0", "--seed", "1"]) == drawn)
        #expect(try tokens(drawing, ["--sampling", "checkpoint", "--top-k", "1"]) == greedy)
        #expect(try tokens(drawing, ["--sampling", "checkpoint", "--temperature", "0"]) == greedy)
    }

    @Test("a chat template that is not known is a note with the names of --template, unless that is given")
    func template() throws {
        let source = "{% for m in messages %}{{ '<turn>' + m['content'] }}{% endfor %}"
        let noted = try describe("chat_template.jinja", source, [])
        #expect(noted.status == 0)
        #expect(noted.errors.contains("note: ") && noted.errors.contains("--template: qwen_2, "))
        for arguments in [["--template", "qwen_2"], ["--quiet"]] {
            #expect(try !describe("chat_template.jinja", source, arguments).errors.contains("chat template"))
        }
    }
}

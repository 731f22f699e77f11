import Foundation
import TestSupport
import Testing

/// The `fastvlm` program that this build made, run as a person would.
@Suite("The command line")
struct CommandLineTests {
    static let model = Program.model
    static let image = Program.image

    private func run(_ arguments: [String], input: Data = Data()) throws -> Outcome {
        try Program.run(arguments, input: input)
    }

    private func describe(_ arguments: [String], input: Data = Data()) throws -> Outcome {
        try run(
            ["describe", "--model", Self.model, "--precision", "float32", "--max-tokens", "8"] + arguments,
            input: input)
    }

    @Test("describe prints the answer on stdout and the timing on stderr")
    func describe() throws {
        let outcome = try describe([Self.image, "What is this?"])
        #expect(outcome.status == 0)
        #expect(outcome.text.hasPrefix("Vql") && outcome.text.hasSuffix("\n"))
        #expect(outcome.errors.contains("first token") && outcome.errors.contains("9 visual"))
    }

    @Test("With the embedded model, and with it alone, stderr says what it has never seen")
    func embeddedModelHint() throws {
        let hint = "The embedded model has seen drawn pictures"
        let question = "What is this?"
        let (spoken, quiet) = (
            try Program.run(["describe", Program.image, question]),
            try Program.run(["describe", Program.image, question, "--quiet"])
        )
        #expect(spoken.errors.contains(hint) && spoken.errors.contains("--model"))
        #expect(!spoken.text.contains(hint) && spoken.status == 0)
        #expect(quiet.errors.isEmpty && quiet.output == spoken.output)
        #expect(!(try Program.run(["describe", "--prompt", question]).errors.contains(hint)))
        let chosen = try Program.run(["describe", Program.image, "--model", Program.model])
        #expect(!chosen.errors.contains(hint))
        let chat = try Program.run(["chat", Program.image], input: Data("\(question)\n".utf8))
        #expect(chat.errors.components(separatedBy: hint).count == 2)
    }

    @Test("--quiet leaves stderr empty and the answer as it was")
    func quiet() throws {
        let loud = try describe([Self.image, "What is this?"])
        let quiet = try describe([Self.image, "What is this?", "--quiet"])
        #expect(quiet.errors.isEmpty && quiet.output == loud.output)
    }

    @Test("--json prints one object with text, ids, finish reason, usage and timings")
    func json() throws {
        let outcome = try describe([Self.image, "What is this?", "--json", "--logprobs", "2"])
        #expect(outcome.text.split(separator: "\n").count == 1)
        let object = try outcome.object()
        #expect((object["token_ids"] as? [Int])?.count == 8)
        #expect(object["finish_reason"] as? String == "length")
        let usage = try #require(object["usage"] as? [String: Any])
        #expect(usage["image_tokens"] as? Int == 9 && usage["completion_tokens"] as? Int == 8)
        let timings = try #require(object["timings"] as? [String: Any])
        for key in [
            "decode_image", "preprocess", "encode", "project", "prefill", "time_to_first_token", "total",
        ] {
            #expect(timings[key] is Double, "\(key)")
        }
        #expect((object["tokens"] as? [[String: Any]])?.first?["log_probability"] is Double)
    }

    @Test("--json with --stream prints JSON lines whose texts join to the answer")
    func jsonLines() throws {
        let outcome = try describe([Self.image, "What is this?", "--json", "--stream"])
        let lines = outcome.text.split(separator: "\n")
        let objects = try lines.indices.map { try outcome.object($0) }
        let pieces = objects.dropLast().compactMap { $0["text"] as? String }.joined()
        #expect(objects.last?["type"] as? String == "answer")
        #expect(objects.last?["text"] as? String == pieces)
        #expect(objects.count > 3)
    }

    @Test("An image comes from stdin with '-'")
    func standardInput() throws {
        let bytes = try Data(contentsOf: URL(filePath: Self.image))
        let piped = try describe(["-", "What is this?", "-q"], input: bytes)
        #expect(piped.status == 0)
        #expect(piped.output == (try describe([Self.image, "What is this?", "-q"])).output)
    }

    @Test("Unusable images exit with 65, say why, and print nothing on stdout")
    func badImages() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "fastvlm-test-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let whole = try Data(contentsOf: URL(filePath: Self.image))
        let cases: [(String, Data)] = [
            ("empty.png", Data()), ("truncated.png", whole.prefix(whole.count / 2)),
            ("text.jpg", Data("this is no picture".utf8)),
            ("gif.png", Data("GIF89a\u{1}\u{0}\u{1}\u{0}".utf8)),
        ]
        for (name, data) in cases {
            let file = folder.appending(path: name)
            try data.write(to: file)
            let outcome = try describe([file.path, "What is this?"])
            #expect(outcome.status == 65, "\(name)")
            #expect(outcome.output.isEmpty, "\(name)")
            #expect(outcome.errors.hasPrefix("fastvlm: "), "\(name): \(outcome.errors)")
        }
        let missing = try describe([folder.appending(path: "none.png").path, "What?"])
        #expect(missing.status == 65 && missing.errors.contains("none.png"))
    }

    @Test("A misspelt image name is not taken for a question")
    func misspelt() throws {
        let outcome = try describe([Self.image, "other-picture.png"])
        #expect(outcome.status == 65 && outcome.errors.contains("other-picture.png"))
    }

    @Test("Unusable models exit with 69, wrong requests with 64")
    func otherExitCodes() throws {
        #expect(try run(["describe", "--model", "/nonexistent", Self.image, "x"]).status == 69)
        #expect(try describe([Self.image, "x", "--temperature=-1"]).status == 64)
        #expect(try describe([Self.image, "x", "--resolution", "100"]).status == 64)
        #expect(try run(["describe", "--no-such-flag"]).status == 64)
        #expect(try run(["describe"]).status == 64)
    }

    @Test("chat keeps the image for the second question")
    func chat() throws {
        let outcome = try run(
            ["chat", Self.image, "--model", Self.model, "--max-tokens", "4", "--json"],
            input: Data("What is this?\nAnd what else?\n/quit\nnever asked\n".utf8))
        #expect(outcome.status == 0)
        #expect(outcome.text.split(separator: "\n").count == 2)
        let usage = try #require(try outcome.object(1)["usage"] as? [String: Any])
        #expect(usage["image_tokens"] as? Int == 0)
        #expect(try #require(usage["cached_tokens"] as? Int) > 9)
    }

    @Test("encode writes features and projected tokens")
    func encode() throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "\(UUID()).safetensors")
        defer { try? FileManager.default.removeItem(at: file) }
        let outcome = try run(["encode", Self.image, "--model", Self.model, "-o", file.path, "--json"])
        #expect(outcome.status == 0)
        #expect(try outcome.object()["tokens"] as? Int == 9)
        // 9 tokens of 128 + 64 float32 numbers, and the header.
        #expect(try Data(contentsOf: file).count > 9 * 192 * 4)
    }

    @Test("tokenize and its inverse")
    func tokenize() throws {
        let outcome = try run(["tokenize", "How are you?", "--model", Self.model, "--json"])
        let ids = try #require(try outcome.object()["token_ids"] as? [Int])
        let back = try run(["tokenize", "--decode", "--model", Self.model] + ids.map(String.init))
        #expect(back.text == "How are you?\n")
        #expect(
            try run(["tokenize", "<|im_end|>", "--special", "--model", Self.model]).text
                == "288\t<|im_end|>\n")
    }

    @Test("inspect and info describe checkpoint and machine")
    func descriptions() throws {
        #expect(try run(["inspect", Self.model]).text.contains("9 visual tokens"))
        let report = try JSONSerialization.jsonObject(with: run(["inspect", Self.model, "--json"]).output)
        #expect((report as? [String: Any])?["tokens_per_image"] as? Int == 9)
        #expect(try run(["info"]).text.contains("instruction set"))
    }

    @Test("Completion scripts are made for the common shells", arguments: ["bash", "zsh", "fish"])
    func completions(shell: String) throws {
        let outcome = try run(["--generate-completion-script", shell])
        #expect(outcome.status == 0 && outcome.text.contains("describe"))
    }
}

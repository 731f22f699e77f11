import Foundation
import TestSupport
import Testing

@Suite("Scores and prompts for comparison with other programs")
struct ScoreCommandTests {
    private func perplexity(_ arguments: [String], input: Data = Data()) throws -> Outcome {
        try Program.run(
            ["perplexity", "--model", Program.model, "--precision", "float32", "--quiet"] + arguments,
            input: input)
    }

    @Test("The perplexity of a text, from a file and from stdin, in windows")
    func text() throws {
        try Program.inFolder { folder in
            let text = Data("What is this? A cat, and a dog. What is this? A cat, and a dog.".utf8)
            let file = folder.appending(path: "text.txt")
            try text.write(to: file)
            let whole = try perplexity([file.path])
            #expect(whole.status == 0 && whole.text.hasPrefix("perplexity ") && whole.errors.isEmpty)
            #expect(try perplexity(["-"], input: text).text == whole.text)
            let report = try perplexity([file.path, "--json"]).object()
            let tokens = try #require(report["tokens"] as? Int)
            let logProbability = try #require(report["log_probability"] as? Double)
            let value = try #require(report["perplexity"] as? Double)
            #expect(abs(exp(-logProbability / Double(tokens)) / value - 1) < 1e-9)
            #expect(whole.text == "perplexity \(String(format: "%.4f", value)) over \(tokens) tokens\n")
            let windows = try perplexity([file.path, "--window", "8", "--stride", "2", "--json"]).object()
            #expect(windows["tokens"] as? Int == tokens && windows["perplexity"] as? Double != value)
            #expect(try perplexity([file.path, "--window", "8", "--stride", "8"]).status == 64)
            #expect(try perplexity([folder.appending(path: "none.txt").path]).status == 64)
            #expect(try perplexity(["-"]).status == 64)
        }
    }

    @Test("A file that is no text in UTF-8 is refused instead of being scored with replacement characters")
    func noText() throws {
        try Program.inFolder { folder in
            let file = folder.appending(path: "text.txt")
            for bytes in [
                Data([0xFF, 0xFE, 0x41, 0x00]), try Data(contentsOf: URL(filePath: Program.image)),
            ] {
                try bytes.write(to: file)
                let outcome = try perplexity([file.path])
                #expect(outcome.status == 64 && outcome.errors.contains("not a text in UTF-8"))
                #expect(outcome.output.isEmpty)
            }
        }
    }

    @Test("JSON lines: texts, and answers to questions about images beside the file")
    func lines() throws {
        try Program.inFolder { folder in
            try FileManager.default.copyItem(
                at: URL(filePath: Program.image), to: folder.appending(path: "a.png"))
            let file = folder.appending(path: "cases.jsonl")
            try Data(
                """
                {"text": "A cat sat."}

                {"prompt": "What is this?", "image": "a.png", "answer": "A cat."}
                {"prompt": "Which?", "images": ["a.png", "a.png"], "system": "Be brief.", "answer": "Both."}

                """.utf8
            ).write(to: file)
            let outcome = try perplexity([file.path, "--json"])
            #expect(outcome.status == 0, "\(outcome.errors)")
            let objects = try (0..<4).map { try outcome.object($0) }
            #expect(objects.map { $0["type"] as? String } == ["line", "line", "line", "total"])
            #expect(objects.map { $0["line"] as? Int } == [1, 3, 4, nil])
            let tokens = try objects.map { try #require($0["tokens"] as? Int) }
            #expect(tokens[3] == tokens[0] + tokens[1] + tokens[2] && tokens.allSatisfy { $0 > 2 })
            for (line, status) in [
                ("no json", 64), (#"{"prompt": "x"}"#, 64), (#"{"text": "x", "answer": "y"}"#, 64),
                (#"{"prompt": "x", "image": "none.png", "answer": "y"}"#, 65), (#"{"text": ""}"#, 64),
            ] {
                try Data("{\"text\": \"A cat sat.\"}\n\(line)\n".utf8).write(to: file)
                let refused = try perplexity([file.path])
                #expect(refused.status == status, "\(line)")
                #expect(refused.errors.contains("cases.jsonl, line 2: "), "\(refused.errors)")
            }
        }
    }

    @Test("JSON lines with the line ends of Windows")
    func windows() throws {
        try Program.inFolder { folder in
            let file = folder.appending(path: "cases.jsonl")
            let lines = ["{\"text\": \"What is this?\"}", "", "{\"text\": \"A cat, and a dog.\"}"]
            try Data(lines.joined(separator: "\n").utf8).write(to: file)
            let expected = try perplexity([file.path])
            try Data(lines.joined(separator: "\r\n").utf8).write(to: file)
            let got = try perplexity([file.path])
            #expect(got.status == 0 && got.text == expected.text, "\(got.errors)")
        }
    }

    @Test("--prompt-ids shows the prompt, with an image's placeholder at each of its positions")
    func promptIDs() throws {
        let arguments = [
            "describe", "--model", Program.model, "--precision", "float32", "--max-tokens", "2",
            Program.image,
            "What is this?",
        ]
        let object = try Program.run(arguments + ["--json", "--prompt-ids"]).object()
        let ids = try #require(object["prompt_ids"] as? [Int])
        let usage = try #require(object["usage"] as? [String: Any])
        #expect(ids.count == usage["prompt_tokens"] as? Int && ids.count { $0 == 289 } == 9)
        #expect(try Program.run(arguments + ["--json"]).object()["prompt_ids"] == nil)
        #expect(try Program.run(arguments + ["--prompt-ids"]).status == 64)
    }
}

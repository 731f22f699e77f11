import Foundation
import TestSupport
import Testing

@Suite("Formats of answers on the command line")
struct FormatCommandTests {
    private func describe(_ arguments: [String]) throws -> Outcome {
        try Program.run(
            [
                "describe", "--model", Program.model, "--precision", "float32", "--temperature", "1",
                "--seed", "3",
                Program.image, "What is this?",
            ] + arguments)
    }

    @Test("--json-schema, --json-object, --choice and --regex hold the answer to a format")
    func formats() throws {
        try Program.inFolder { folder in
            let file = folder.appending(path: "schema.json")
            let schema =
                #"{"type":"object","properties":{"a":{"type":"integer"},"b":{"enum":["x","y"]}},"required":["a","b"]}"#
            try Data(schema.utf8).write(to: file)
            let answer = try describe(["--json-schema", file.path])
            #expect(answer.status == 0, "\(answer.errors)")
            let object = try #require(JSONSerialization.jsonObject(with: answer.output) as? [String: Any])
            #expect(object["a"] is Int && ["x", "y"].contains(object["b"] as? String))
        }
        let any = try describe(["--json-object", "--max-tokens", "30"])
        #expect(try JSONSerialization.jsonObject(with: any.output) is [String: Any], "\(any.errors)")
        let choice = try describe(["--choice", "red, or so", "--choice", "blue", "--json"]).object()
        #expect(
            ["red, or so", "blue"].contains(choice["text"] as? String)
                && choice["finish_reason"] as? String == "stop")
        let number = try describe(["--regex", "[1-9][0-9]?"])
        #expect((1...99).contains(Int(number.text.dropLast()) ?? 0))
    }

    @Test("chat holds every answer to the format")
    func chat() throws {
        let outcome = try Program.run(
            [
                "chat", "--model", Program.model, "--precision", "float32", "--choice", "yes", "--choice",
                "no",
            ],
            input: Data("Is it?\nIs it not?\n".utf8))
        #expect(outcome.status == 0, "\(outcome.errors)")
        let lines = outcome.text.split(separator: "\n")
        #expect(lines.count == 2 && lines.allSatisfy { $0 == "yes" || $0 == "no" })
    }

    @Test("what is wrong with a format is said before the model is loaded")
    func refused() throws {
        try Program.inFolder { folder in
            let file = folder.appending(path: "schema.json")
            try Data(#"{"type":"object","properties":{"a":{"oneOf":[]}}}"#.utf8).write(to: file)
            let cases: [([String], [String])] = [
                (["--json-schema", file.path], ["schema.json", "oneOf", "#/properties/a"]),
                (["--json-schema", folder.appending(path: "none.json").path], ["cannot read", "none.json"]),
                (["--regex", "(a"], ["')' is missing"]), (["--choice", ""], ["empty"]),
                (["--regex", "a", "--choice", "b"], ["--choice and --regex exclude each other"]),
                (["--json-object", "--json-schema", file.path], ["exclude each other"]),
            ]
            for (arguments, words) in cases {
                let outcome = try Program.run(["describe", "--model", "/nowhere", "image.png"] + arguments)
                #expect(outcome.status == 64 && outcome.output.isEmpty, "\(arguments): \(outcome.status)")
                for word in words {
                    #expect(outcome.errors.contains(word), "\(arguments): \(outcome.errors)")
                }
            }
            let short = try describe(["--regex", "[a-z]{50}", "--max-tokens", "3"])
            #expect(short.status == 64 && short.errors.contains("max tokens must be at least"))
        }
    }
}

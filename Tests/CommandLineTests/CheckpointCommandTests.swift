import Foundation
import TestSupport
import Testing

/// What the program says about the folder it is given.
@Suite("Checkpoints on the command line")
struct CheckpointCommandTests {
    private func describe(_ arguments: [String]) throws -> Outcome {
        try Program.run(
            ["describe", Program.image, "What is this?", "--precision", "float32", "--max-tokens", "8"]
                + arguments)
    }

    @Test("a remark that changes answers is a note on stderr, once; --quiet leaves it out")
    func notes() throws {
        try Program.inFolder { root in
            let folder = root.appending(path: "model")
            try FileManager.default.copyItem(at: Fixture.url("models/tiny-hf"), to: folder)
            try Data("{\"eos_token_id\": 5}".utf8).write(to: folder.appending(path: "generation_config.json"))
            for flags in [[], ["--verbose"]] {
                let outcome = try describe(["--model", folder.path] + flags)
                #expect(outcome.status == 0)
                #expect(
                    outcome.errors.components(separatedBy: "only 5 ends an answer").count == 2,
                    "\(outcome.errors)")
                if flags.isEmpty { #expect(outcome.errors.hasPrefix("note: ")) }
            }
            #expect(try describe(["--model", folder.path, "--quiet"]).errors.isEmpty)
        }
        #expect(!(try describe(["--model", Program.model]).errors.contains("note: ")))
    }

    @Test("--adapter merges adapters in their order; what cannot be merged ends in 69")
    func adapters() throws {
        let (patterns, stable) = (Fixture.url("adapters/patterns").path, Fixture.url("adapters/stable").path)
        var answers: Set<String> = []
        for arguments in [[], ["--adapter", patterns], ["--adapter", patterns, "--adapter", stable]] {
            let outcome = try describe(["--model", Program.model] + arguments)
            #expect(outcome.status == 0, "\(outcome.errors)")
            answers.insert(outcome.text)
        }
        #expect(answers.count == 3)
        let wrong = try describe(["--model", Program.model, "--adapter", Program.model])
        #expect(wrong.status == 69 && wrong.errors.contains("adapter_config.json"))
        let alone = try describe(["--model", patterns])
        #expect(
            alone.status == 69 && alone.errors.contains("LoRA adapter") && alone.errors.contains("--adapter"))
    }

    @Test("inspect shows how a checkpoint asks to be sampled")
    func inspect() throws {
        let text = try Program.run(["inspect", Fixture.url("models/tiny-apple").path]).text
        #expect(text.contains("generation   ends at 288; generation_config.json: do_sample true"), "\(text)")
        let json = try Program.run(["inspect", "--json", Fixture.url("models/tiny-apple").path])
        let data = json.output
        let object = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        #expect((object["sampling"] as? [String: Any])?["do_sample"] as? Bool == true)
    }
}

import Foundation
import TestSupport
import Testing

/// `fastvlm compare` and vision towers of another folder, as a person would name them.
@Suite("compare and --tower")
struct CompareTests {
    private func lines(_ outcome: Outcome) throws -> [[String: Any]] {
        try outcome.text.split(separator: "\n").compactMap {
            try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
        }
    }

    @Test("What does not fit into memory is skipped by name; towers are compared without running anything")
    func memory() throws {
        let outcome = try Program.run([
            "compare", "--memory", "0.1", "--json", "--precisions", "bfloat16,int8",
        ])
        #expect(outcome.status == 0, "\(outcome.errors)")
        let lines = try lines(outcome)
        #expect(lines.first?["type"] as? String == "machine")
        let skipped = lines.filter { $0["type"] as? String == "skipped" }
        #expect(
            skipped.map { "\($0["system"] ?? "") \($0["precision"] ?? "")" } == [
                "LLaVA-OneVision-0.5B bfloat16", "LLaVA-OneVision-0.5B int8", "LLaVA-1.5-7B bfloat16",
                "LLaVA-1.5-7B int8",
            ])
        #expect(skipped.allSatisfy { ($0["needed_bytes"] as? Int ?? 0) > 1_000_000_000 })
        let towers = lines.filter { $0["type"] as? String == "tower" }
        #expect(towers.map { $0["parameters"] as? Int } == [397_747_744, 303_507_456])
        let text = try Program.run(["compare", "--memory", "0.1", "--only", "7b", "--precisions", "int4"])
        #expect(text.text.contains("LLaVA-1.5-7B in int4: skipped"))
        #expect(!text.text.contains("OneVision-0.5B in"))
    }

    @Test(
        "Wrong values are refused before anything is measured",
        arguments: [
            ["--precisions", "int3"], ["--precisions", ","], ["--memory", "0"], ["--repeats", "0"],
            ["--only", "3b"], ["--text-tokens", "5000"],
        ])
    func wrong(arguments: [String]) throws {
        #expect(try Program.run(["compare"] + arguments).status == 64)
    }

    @Test("A tower needs a checkpoint, and one that has none")
    func tower() throws {
        let folder = Fixture.url("llava/llava-1.5").path
        let alone = try Program.run(["describe", "--tower", folder, Program.image, "What?"])
        #expect(alone.status == 64 && alone.errors.contains("--model"))
        let second = try Program.run(["inspect", folder, "--tower", Fixture.url("onevision/tiny").path])
        #expect(second.status == 69 && second.errors.contains("only clip, siglip"), "\(second.errors)")
        let report = try Program.run(["inspect", Fixture.url("llava/next").path])
        #expect(report.text.contains("9 to 51 visual tokens"), "\(report.text)")
    }

    @Test("The doctor looks at a tower's folder too, and says what is wrong with it")
    func doctor() throws {
        let folder = Fixture.url("llava/llava-1.5").path
        // A checkpoint with a tower of its own refuses another one; without the flag it is well.
        #expect(try Program.run(["doctor", folder]).status == 0)
        let second = try Program.run(["doctor", folder, "--tower", Fixture.url("onevision/towers").path])
        #expect(second.status == 69, "\(second.text)")
        try Program.inFolder { empty in
            let path = empty.path
            try Data("{".utf8).write(to: empty.appending(path: "config.json"))
            try Data("x".utf8).write(to: empty.appending(path: "model.safetensors.part"))
            let broken = try Program.run(["doctor", folder, "--tower", path])
            #expect(broken.status == 69 && broken.text.contains("model.safetensors.part"), "\(broken.text)")
            #expect(broken.text.contains("config.json"))
        }
    }
}

import Foundation
import TestSupport
import Testing

@Suite("fastvlm quantize and bench")
struct QuantizeTests {
    @Test("A quantised checkpoint answers as --precision does, and is loaded as what it is")
    func quantise() throws {
        try Program.inFolder { folder in
            for precision in ["int8", "int4"] {
                let target = folder.appending(path: precision).path
                let made = try Program.run(
                    ["quantize", Program.model, "-o", target, "--precision", precision])
                #expect(made.status == 0 && made.text.isEmpty, "\(made.errors)")
                #expect(made.errors.contains("packed, \(precision)"))
                let question = ["describe", Program.image, "What is this?", "--max-tokens", "6", "--json"]
                let got = try Program.run(question + ["--model", target])
                let expected = try Program.run(
                    question + ["--model", Program.model, "--precision", precision])
                let ids = try #require(try expected.object()["token_ids"] as? [Int])
                #expect(try got.object()["token_ids"] as? [Int] == ids)
                let model = try #require(try got.object()["model"] as? [String: Any])
                #expect(model["precision"] as? String == precision)
            }
            let taken = try Program.run(["quantize", Program.model, "-o", folder.path])
            #expect(taken.status == 74 && taken.errors.contains("not empty"))
            let left = try FileManager.default.contentsOfDirectory(atPath: folder.path)
            #expect(Set(left) == ["int8", "int4"])
            let target = folder.appending(path: "never-made").path
            let missing = try Program.run(["quantize", target + "-either", "-o", target])
            #expect(missing.status == 69 && !FileManager.default.fileExists(atPath: target))
        }
        let wrong = try Program.run(["quantize", Program.model, "-o", "x", "--precision", "float32"])
        #expect(wrong.status == 64)
    }

    @Test(
        "bench refuses what does not fit into the context, and lists without words",
        arguments: [
            ["--text-tokens", "100000"], ["--tokens", "10000"], ["--precisions", ""], ["--resolutions", ","],
            ["--rounds-from-stdin", "--item", "decode", "--context", "8190"],
            ["--rounds-from-stdin", "--item", "prefill", "--positions", "8193"],
        ])
    func tooLong(arguments: [String]) throws {
        let outcome = try Program.run(["bench", "--model", Program.model] + arguments)
        #expect(outcome.status == 64 && !outcome.errors.isEmpty, "\(outcome.errors)")
        #expect(outcome.output.isEmpty)
    }

    @Test("An interrupt ends bench with 130")
    func interrupted() throws {
        let process = Process()
        process.executableURL = try Program.url()
        process.arguments = ["bench", "--model", Program.model, "--repeats", "10000"]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        #expect(!output.fileHandleForReading.availableData.isEmpty)
        process.interrupt()
        _ = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        #expect(process.terminationReason == .exit && process.terminationStatus == 130)
    }
}

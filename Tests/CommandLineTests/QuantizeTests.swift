import Foundation
import TestSupport
import Testing

@Suite("fastvlm quantize and bench")
struct QuantizeTests {
    @Test(
        "A checkpoint quantised without calibration answers as --precision does, and is loaded as what it is")
    func quantise() throws {
        try Program.inFolder { folder in
            for precision in ["int8", "int4"] {
                let target = folder.appending(path: precision).path
                let made = try Program.run(
                    ["quantize", Program.model, "-o", target, "--precision", precision, "--no-calibration"])
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
        "Calibration makes errors smaller, whatever it is done with, is the same in every run, and is reported"
    )
    func calibrated() throws {
        try Program.inFolder { folder in
            let words = folder.appending(path: "words.txt")
            try Data("A helicopter. How many eggs are there? Three.".utf8).write(to: words)
            func largest(_ name: String, _ arguments: [String]) throws -> [Double] {
                let target = folder.appending(path: name).path
                let made = try Program.run(
                    ["quantize", Program.model, "-o", target, "--precision", "int4"] + arguments)
                #expect(made.status == 0 && made.errors.contains("rounding changes"), "\(made.errors)")
                let inspected = try Program.run(["inspect", target, "--json"])
                let report = try #require(
                    try JSONSerialization.jsonObject(with: Data(inspected.text.utf8)) as? [String: Any])
                #expect([7.6, 8].contains(report["bits_of_int8"] as? Double))
                let errors = try #require(report["quantization_errors"] as? [[String: Any]])
                #expect(errors.count > 10)
                let text = try Program.run(["inspect", target]).text
                #expect(text.contains("rounding     changes"), "\(text)")
                return try errors.map { try #require($0["relative_error"] as? Double) }
            }
            let plain = try largest("plain", ["--no-calibration"])
            let random = try largest("random", [])
            let again = try largest("again", ["-t", "1"])
            #expect(random == again)
            let first = try Data(contentsOf: folder.appending(path: "random/model.safetensors"))
            #expect(try Data(contentsOf: folder.appending(path: "again/model.safetensors")) == first)
            let own = try largest("own", ["--calibrate", words.path, "--calibrate", Program.image])
            #expect(own != random)
            for errors in [random, own] {
                #expect(errors.reduce(0, +) < plain.reduce(0, +), "\(errors.prefix(3)) \(plain.prefix(3))")
            }
            let empty = folder.appending(path: "empty")
            try FileManager.default.createDirectory(at: empty, withIntermediateDirectories: false)
            for (bad, mention) in [(empty.path, "no text and no image"), (empty.path + "x", "no such file")] {
                let outcome = try Program.run(
                    ["quantize", Program.model, "-o", empty.path + "-out", "--calibrate", bad])
                #expect(outcome.status == 65 && outcome.errors.contains(mention), "\(outcome.errors)")
            }
        }
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

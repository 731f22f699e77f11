import Foundation
import TestSupport
import Testing

/// `fastvlm sweep` with a small checkpoint, as a person would call it.
@Suite("sweep")
struct SweepCommandTests {
    private let model = [
        "sweep", "--model", Program.model, "--resolutions", "64,128", "--repeats", "2", "--text-tokens", "5",
        "--threads", "1",
    ]

    private func objects(_ text: String) throws -> [[String: Any]] {
        try text.split(separator: "\n").map {
            try #require(JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
    }

    /// Side and precision of each line.
    private func cells(_ text: String) throws -> [String] {
        try objects(text).map { "\($0["type"] ?? "") \($0["image_side"] ?? 0) \($0["precision"] ?? "")" }
    }

    @Test("Lines and comma-separated values for every combination")
    func lines() throws {
        try Program.inFolder { folder in
            let csv = folder.appending(path: "out.csv").path
            let outcome = try Program.run(model + ["--precisions", "float32,int8", "--csv", csv])
            #expect(outcome.status == 0, "\(outcome.errors)")
            #expect(
                try cells(outcome.text) == [
                    "cell 64 float32", "cell 128 float32", "cell 64 int8", "cell 128 int8",
                ])
            for line in try objects(outcome.text) {
                let seconds = try #require(line["seconds"] as? [String: Double])
                #expect(seconds.values.allSatisfy { $0 > 0 })
                let sum = seconds.values.reduce(0, +)
                #expect(abs((line["first_token_seconds"] as? Double ?? 0) - sum) < 1e-9)
                #expect((line["repeats"] as? [Double])?.count == 2)
                #expect(line["decoder"] as? String == Program.model)
                #expect((line["conditions"] as? [String: Any])?["text_tokens"] as? Int == 5)
                // Not every container lets a process begin to watch its memory anew.
                if let peak = line["peak_bytes"] as? Int { #expect(peak > 1_000_000) }
            }
            let table = try String(contentsOfFile: csv, encoding: .utf8).split(separator: "\r\n")
            #expect(table.count == 5 && table[0].hasPrefix("tower,decoder,precision,image_side,"))
            #expect(
                Set(table.map { $0.split(separator: ",", omittingEmptySubsequences: false).count }).count == 1
            )
            #expect(outcome.errors.contains("4 of 4"))
        }
    }

    @Test("Goes on where it was cut off, measures nothing twice, and leaves foreign files alone")
    func resumes() throws {
        try Program.inFolder { folder in
            let output = folder.appending(path: "out.jsonl").path
            let file = URL(filePath: output)
            let arguments = model + ["-o", output]
            #expect(try Program.run(arguments + ["--precisions", "float32"]).status == 0)
            let first = try String(contentsOf: file, encoding: .utf8)
            // As a power failure leaves it: the second line ends in its middle.
            try Data(first.utf8.prefix(first.utf8.count - 20)).write(to: file)
            let again = try Program.run(arguments + ["--precisions", "float32,bfloat16", "--resume"])
            #expect(again.status == 0 && again.errors.contains("1 of 4 there already"), "\(again.errors)")
            let text = try String(contentsOf: file, encoding: .utf8)
            #expect(text.hasPrefix(first.split(separator: "\n")[0] + "\n"))
            #expect(
                try cells(text) == [
                    "cell 64 float32", "cell 128 float32", "cell 64 bfloat16", "cell 128 bfloat16",
                ])
            let nothing = try Program.run(arguments + ["--precisions", "float32,bfloat16", "--resume"])
            #expect(nothing.status == 0 && nothing.errors.contains("4 of 4 there already"))
            #expect(try String(contentsOf: file, encoding: .utf8) == text)
            // Another number of text tokens is another measurement.
            let other = try Program.run(
                arguments + ["--precisions", "float32", "--text-tokens", "6", "--resume"])
            #expect(other.status == 0)
            #expect(try cells(String(contentsOf: file, encoding: .utf8)).count == 6)
            let fresh = try Program.run(arguments)
            #expect(fresh.status == 74 && fresh.errors.contains("--resume"))
            for foreign in ["{\"a\":1}\n", "{\"a\":1", "text\n"] {
                try Data(foreign.utf8).write(to: file)
                #expect(try Program.run(arguments + ["--resume"]).status == 74)
                #expect(try String(contentsOf: file, encoding: .utf8) == foreign)
            }
        }
    }

    @Test("What does not fit into memory is skipped by name, once, and tried again")
    func memory() throws {
        try Program.inFolder { folder in
            let output = folder.appending(path: "out.jsonl").path
            let arguments = model + ["-o", output, "--precisions", "float32"]
            let small = try Program.run(arguments + ["--memory", "0.1"])
            #expect(small.status == 0 && small.errors.contains("skipped: \(Program.model) float32"))
            let skipped = try String(contentsOfFile: output, encoding: .utf8)
            #expect(try cells(skipped) == ["skipped 64 float32", "skipped 128 float32"])
            #expect(try objects(skipped).allSatisfy { $0["needed_bytes"] as? Int ?? 0 > 1_000_000_000 })
            #expect(try Program.run(arguments + ["--memory", "0.1", "--resume"]).status == 0)
            #expect(try String(contentsOfFile: output, encoding: .utf8) == skipped)
            #expect(try Program.run(arguments + ["--resume"]).status == 0)
            #expect(
                try cells(String(contentsOfFile: output, encoding: .utf8)) == [
                    "skipped 64 float32", "skipped 128 float32", "cell 64 float32", "cell 128 float32",
                ])
        }
    }

    @Test("The plan names what would be measured, and measures nothing")
    func plan() throws {
        let plan = try Program.run([
            "sweep", "--plan", "--towers", "fastvithd,siglip-so400m-384-tiles", "--decoders",
            "0.5b,vicuna-7b",
            "--resolutions", "1152,512", "--precisions", "int8",
        ])
        let lines = plan.text.split(separator: "\n")
        #expect(plan.status == 0 && lines.count == 8, "\(plan.text) \(plan.errors)")
        #expect(lines.contains { $0.hasPrefix("0.5b int8, siglip-so400m-384-tiles at 1152²: 7371 visual") })
        let all = try Program.run(["sweep", "--plan"])
        // Four sides of FastViTHD, one of each other tower; three decoders, two precisions.
        #expect(all.text.split(separator: "\n").count == 36)
    }

    @Test(
        "Wrong values are refused before anything is measured",
        arguments: [
            ["--towers", "resnet"], ["--decoders", "3b"], ["--precisions", "int3"], ["--resolutions", "8"],
            ["--resolutions", ","], ["--memory", "0"], ["--repeats", "0"], ["--resume"],
            ["-o", "x.jsonl", "--csv", "x.jsonl"], ["--threads", "0"],
        ])
    func wrong(arguments: [String]) throws {
        #expect(try Program.run(["sweep"] + arguments).status == 64)
    }
}

import Foundation
import TestSupport
import Testing

/// `fastvlm evaluate`: what it installs and runs. A script stands where the environment's Python would be.
@Suite("fastvlm evaluate")
struct EvaluateTests {
    private static let wheel = "fastvlm-0.1.0-py3-none-any.whl"

    private func withFolder<Result>(_ body: (URL) throws -> Result) throws -> Result {
        let folder = FileManager.default.temporaryDirectory.appending(path: "evaluate-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try Data().write(to: folder.appending(path: Self.wheel))
        return try body(folder)
    }

    /// An environment whose Python writes its arguments, and ends with the status 7.
    private func environment(in folder: URL, ready: Bool = true) throws -> String {
        let programs = folder.appending(path: "environment/bin")
        try FileManager.default.createDirectory(at: programs, withIntermediateDirectories: true)
        let python = programs.appending(path: "python")
        let script = """
            #!/bin/sh
            [ "$1" = -c ] && exit \(ready ? 0 : 3)
            for word in "$@"; do echo "$word"; done
            exit 7

            """
        try Data(script.utf8).write(to: python)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: python.path)
        return programs.deletingLastPathComponent().path
    }

    @Test("The harness gets the model, the tasks and the options, and its exit status is that of the program")
    func runs() throws {
        try withFolder { folder in
            let environment = try environment(in: folder)
            let outcome = try Program.run([
                "evaluate", Program.model, "--environment", environment, "--tasks", "pope,paper",
                "--precision", "int8",
                "--resolution", "256", "--limit", "5", "--threads", "1", "--chat", "-o",
                folder.appending(path: "it's a result.json").path, "--data", folder.path,
            ])
            #expect(outcome.status == 7, "\(outcome.errors)")
            let result = folder.appending(path: "it's a result.json").standardizedFileURL.path
            #expect(
                outcome.text.split(separator: "\n").map(String.init) == [
                    "-m", "fastvlm.harness", "run", Program.model, "--tasks", "pope,paper", "--output",
                    result,
                    "--answers", result + ".answers.jsonl", "--requests", "chat",
                    "--data", folder.standardizedFileURL.path, "--precision", "int8", "--image-size", "256",
                    "--threads", "1", "--limit", "5",
                ])
            #expect(outcome.errors.isEmpty)
        }
    }

    @Test("Nothing is installed without a yes; the commands are shown, and can be printed alone")
    func installation() throws {
        try withFolder { folder in
            let wheel = folder.appending(path: Self.wheel).path
            let target = folder.appending(path: "new")
            let common = ["evaluate", "embedded", "--environment", target.path, "--wheel", wheel]
            let refused = try Program.run(common)
            #expect(refused.status == 64 && refused.text.isEmpty)
            for text in [
                "3 GB", "python3 -m venv \(target.path)", "pip install \(wheel)", "fastvlm.harness install",
                "--yes",
            ] {
                #expect(refused.errors.contains(text), "\(refused.errors)")
            }
            #expect(!FileManager.default.fileExists(atPath: target.path))
            let shown = try Program.run(common + ["--dry-run"])
            let lines = shown.text.split(separator: "\n")
            #expect(shown.status == 0 && lines.count == 4, "\(shown.text) \(shown.errors)")
            #expect(lines.last?.contains("-m fastvlm.harness run embedded --tasks paper --output ") == true)
            // With everything there, only the evaluation is left.
            let ready = try environment(in: folder)
            let last = try Program.run(["evaluate", "embedded", "--environment", ready, "--dry-run"])
            #expect(last.text.split(separator: "\n").count == 1)
        }
    }

    @Test("A step that fails ends everything; an environment without lmms-eval is completed")
    func failingStep() throws {
        try withFolder { folder in
            // Its Python refuses what the second step asks for.
            let environment = try environment(in: folder, ready: false)
            let programs = folder.appending(path: "programs")
            try FileManager.default.createDirectory(at: programs, withIntermediateDirectories: true)
            let python = programs.appending(path: "python3")
            try Data("#!/bin/sh\nexit 0\n".utf8).write(to: python)
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: python.path)
            let path = programs.path + ":" + (ProcessInfo.processInfo.environment["PATH"] ?? "")
            let outcome = try Program.run(
                [
                    "evaluate", "embedded", "--environment", environment, "--wheel",
                    folder.appending(path: Self.wheel).path, "--yes",
                ], environment: ["PATH": path])
            #expect(outcome.status == 70)
            #expect(outcome.errors.contains("pip install") && outcome.errors.contains("ended with status 7"))
            #expect(outcome.text.split(separator: "\n").contains("install"))
        }
    }

    @Test(
        "Wrong values are refused before anything is installed",
        arguments: [
            ([], 64), (["embedded", "--tasks", "pope,,gqa"], 64), (["embedded", "--tasks", "a b"], 64),
            (["embedded", "--limit", "0"], 64), (["embedded", "--resolution", "8"], 64),
            (["embedded", "--precision", "int3"], 64),
            (["embedded", "--wheel", "/none.whl", "--environment", "/none"], 64),
            (["/none/such/model", "--environment", "/none"], 69),
            (["none/such", "--environment", "/none"], 69),
        ] as [([String], Int32)])
    func wrong(arguments: [String], status: Int32) throws {
        let outcome = try Program.run(["evaluate"] + arguments)
        #expect(outcome.status == status, "\(outcome.errors)")
        #expect(outcome.text.isEmpty)
    }
}

import ArgumentParser
import CommandInput
import FastVLM
import Foundation

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

struct Evaluate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Score a model on benchmarks with the community's harness, beside the paper's figures.",
        discussion: """
            fastvlm evaluate apple/FastVLM-0.5B --tasks paper --precision int8 -o result.json
            fastvlm evaluate ~/FastVLM-0.5B --tasks pope,pope_llava --limit 100
            fastvlm evaluate embedded --tasks mmmu_val --dry-run

            lmms-eval 0.7.3, in a Python environment of its own, asks the questions and scores the answers; the Python \
            package of this project answers them. What is missing is installed after asking: some 3 GB. The data sets come \
            from the hub (--data names a folder that has them). "paper" are ten benchmarks with the prompts and scores of \
            the paper's harnesses, "today" the same ten as lmms-eval 0.7.3 has them; other tasks of lmms-eval go by their \
            names. Answers are kept in a file beside the result, and a run that was stopped goes on from there. Hours, \
            downloads and traps are in Evaluation/README.md.
            """)

    @Argument(
        help: "A checkpoint folder, a model of the hub's cache, or 'embedded'.", completion: .directory)
    var directory: String

    @Option(help: "Names of tasks, separated by commas; 'paper' and 'today' are ten each.")
    var tasks = "paper"

    @Option(name: .shortAndLong, help: "The result file to write.", completion: .file(extensions: ["json"]))
    var output = "result.json"

    @Option(
        help: "The file of answers to go on from (default: beside the result).",
        completion: .file(extensions: ["jsonl"]))
    var answers: String?

    @Option(
        help: "A folder with the data sets, by ORGANISATION/NAME; nothing is downloaded then.",
        completion: .directory)
    var data: String?

    @Option(help: "float32, bfloat16, int8 or int4 (default: as the checkpoint stores its weights).")
    var precision: Precision?

    @Option(parsing: .unconditional, help: "Pixels per side, a multiple of 64 (default: the checkpoint's).")
    var resolution: Int?

    @Option(
        name: .shortAndLong, parsing: .unconditional, help: "Worker threads (default: see `fastvlm info`).")
    var threads: Int?

    @Option(
        parsing: .unconditional,
        help: "Ask only the first questions of each task; such scores are not comparable.")
    var limit: Int?

    @Flag(
        help:
            "Images stand where the text refers to them, as in MMMU today (default: before the text, as the paper's)."
    )
    var chat = false

    @Option(
        help: "The Python environment (default: fastvlm/evaluation in $XDG_CACHE_HOME or ~/.cache).",
        completion: .directory)
    var environment: String?

    @Option(
        help: "The wheel of the Python package to install (`make wheel`).",
        completion: .file(extensions: ["whl"]))
    var wheel: String?

    @Flag(help: "Install what is missing without asking.")
    var yes = false

    @Flag(help: "Print the commands instead of running them.")
    var dryRun = false

    /// Ends with 0 where nothing is missing.
    private static let probe = """
        import importlib.util, sys
        sys.exit(0 if all(importlib.util.find_spec(name) for name in ("fastvlm", "lmms_eval", "torch")) else 3)
        """

    func validate() throws {
        if let limit { try check("--limit", limit, in: 1...10_000_000) }
        if let threads { try check("--threads", threads, in: 1...4096) }
        if let resolution { try check("--resolution", resolution, in: 64...16_384) }
        let names = tasks.split(separator: ",", omittingEmptySubsequences: false)
        guard names.allSatisfy({ !$0.isEmpty && $0.allSatisfy { $0.isASCII && !$0.isWhitespace } }) else {
            throw ValidationError("--tasks are names separated by commas, got '\(ByteText.shown(tasks))'.")
        }
    }

    func run() async throws {
        let folder = environmentFolder()
        let python = folder.appending(path: "bin/python")
        let run = [python.path] + (try arguments())
        var steps: [[String]] = []
        if !Self.isReady(python) { steps = try installation(into: folder, python: python) }
        if dryRun {
            try Terminal.answer((steps + [run]).map(Self.shown).joined(separator: "\n"), terminator: "\n")
            return
        }
        if !steps.isEmpty { try install(steps, into: folder) }
        try Self.replaceProcess(run)
    }

    // The harness

    /// What comes after the environment's Python.
    private func arguments() throws -> [String] {
        let output = Self.absolute(self.output)
        var arguments = [
            "-m", "fastvlm.harness", "run", try model(), "--tasks", tasks, "--output", output,
            "--answers", answers.map(Self.absolute) ?? output + ".answers.jsonl",
            "--requests", chat ? "chat" : "simple",
        ]
        let options: [(String, String?)] = [
            ("--data", data.map(Self.absolute)), ("--precision", precision?.rawValue),
            ("--image-size", resolution.map(String.init)), ("--threads", threads.map(String.init)),
            ("--limit", limit.map(String.init)),
        ]
        for case (let name, let value?) in options { arguments += [name, value] }
        return arguments
    }

    /// - Throws: `CommandFailure` for a model that is not there, before anything is installed for it.
    private func model() throws -> String {
        if directory == "embedded", !FileManager.default.fileExists(atPath: directory) { return directory }
        let folder = try ModelName.source(directory).directory()
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: folder.path, isDirectory: &isFolder), isFolder.boolValue
        else {
            throw CommandFailure(.model, "there is no folder '\(ByteText.shown(directory))'; check the path")
        }
        return folder.path
    }

    /// The harness takes the place of this program: signals, streams and exit status are its own.
    private static func replaceProcess(_ command: [String]) throws {
        for number in [SIGINT, SIGTERM, SIGPIPE, SIGXFSZ] { signal(number, SIG_DFL) }
        var pointers: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
        pointers.append(nil)
        execv(command[0], pointers)
        let reason = String(cString: strerror(errno))
        for pointer in pointers { free(pointer) }
        throw CommandFailure(.system, "\(command[0]) cannot be run: \(reason)")
    }

    // The environment

    private func environmentFolder() -> URL {
        if let environment { return URL(filePath: Self.absolute(environment)) }
        let variables = ProcessInfo.processInfo.environment
        let cache =
            variables["XDG_CACHE_HOME"].flatMap { $0.hasPrefix("/") ? URL(filePath: $0) : nil }
            ?? FileManager.default.homeDirectoryForCurrentUser.appending(path: ".cache")
        return cache.appending(path: "fastvlm/evaluation")
    }

    private static func isReady(_ python: URL) -> Bool {
        guard FileManager.default.isExecutableFile(atPath: python.path) else { return false }
        return (try? status(of: [python.path, "-c", probe])) == 0
    }

    /// The commands that make the environment.
    private func installation(into folder: URL, python: URL) throws -> [[String]] {
        guard let wheel = try wheelFile() else {
            throw CommandFailure(
                .system,
                "there is no wheel of the Python package: build one with `make wheel` in the repository, and name it with "
                    + "--wheel")
        }
        return [
            ["/usr/bin/env", "python3", "-m", "venv", folder.path],
            [python.path, "-m", "pip", "install", wheel.path],
            [python.path, "-m", "fastvlm.harness", "install", "--yes"],
        ]
    }

    /// The one that was named; else that of the repository that this program was built in, or of the current folder.
    private func wheelFile() throws -> URL? {
        if let wheel {
            let url = URL(filePath: Self.absolute(wheel))
            guard FileManager.default.fileExists(atPath: url.path) else {
                throw CommandFailure(.usage, "there is no wheel '\(ByteText.shown(wheel))'")
            }
            return url
        }
        var folders = [URL(filePath: FileManager.default.currentDirectoryPath)]
        if let program = Bundle.main.executableURL?.resolvingSymlinksInPath() {
            var folder = program.deletingLastPathComponent()
            while folder.path.count > 1 {
                folders.append(folder)
                folder = folder.deletingLastPathComponent()
            }
        }
        for folder in folders {
            let names =
                (try? FileManager.default.contentsOfDirectory(
                    atPath: folder.appending(path: "Python/dist").path)) ?? []
            // The last version by its name.
            if let name = names.filter({ $0.hasPrefix("fastvlm-") && $0.hasSuffix(".whl") }).max() {
                return folder.appending(path: "Python/dist").appending(path: name)
            }
        }
        return nil
    }

    private func install(_ steps: [[String]], into folder: URL) throws {
        Terminal.note("lmms-eval is to be installed into \(folder.path), some 3 GB:")
        for step in steps { Terminal.note("  " + Self.shown(step)) }
        if !yes {
            guard Terminal.canAsk else {
                throw CommandFailure(
                    .usage, "there is nobody to ask: --yes installs it, or run these commands yourself")
            }
            guard Terminal.confirms("Install it?") else {
                throw CommandFailure(.usage, "nothing was installed, and nothing evaluated")
            }
        }
        for step in steps {
            let status = try Self.status(of: step)
            guard status == 0 else {
                throw CommandFailure(.system, "'\(Self.shown(step))' ended with status \(status)")
            }
        }
    }

    /// Runs a command to its end, on this program's streams.
    private static func status(of command: [String]) throws -> Int32 {
        let process = Process()
        process.executableURL = URL(filePath: command[0])
        process.arguments = Array(command.dropFirst())
        do {
            try process.run()
        } catch {
            throw CommandFailure(.system, "\(command[0]) cannot be run: \(error.localizedDescription)")
        }
        process.waitUntilExit()
        return process.terminationStatus
    }

    // Texts

    private static func absolute(_ name: String) -> String {
        let text = NSString(string: ByteText.shown(name)).expandingTildeInPath
        return URL(filePath: text).standardizedFileURL.path
    }

    /// A command that a shell understands.
    private static func shown(_ command: [String]) -> String {
        command.map { word in
            let isPlain =
                !word.isEmpty
                && word.allSatisfy {
                    $0.isASCII && ($0.isLetter || $0.isNumber || "-_./=,:@%+".contains($0))
                }
            return isPlain ? word : "'" + word.replacing("'", with: "'\\''") + "'"
        }.joined(separator: " ")
    }
}

import Foundation
import TestSupport
import Testing

/// What a run of the program left behind.
struct Outcome {
    let status: Int32
    /// The signal that ended it.
    let signal: Int32?
    let output: Data
    let errors: String

    var text: String { String(decoding: output, as: UTF8.self) }

    /// The JSON object of a line.
    func object(_ line: Int = 0) throws -> [String: Any] {
        let lines = text.split(separator: "\n")
        try #require(lines.indices.contains(line), "no line \(line) in: \(text) \(errors)")
        return try #require(JSONSerialization.jsonObject(with: Data(lines[line].utf8)) as? [String: Any])
    }

    /// A number or object under `usage`.
    func usage(_ key: String, line: Int = 0) throws -> Int {
        let usage = try #require(try object(line)["usage"] as? [String: Any])
        return try #require(usage[key] as? Int)
    }
}

/// The `fastvlm` program that this build made.
enum Program {
    static let model = Fixture.url("models/tiny-hf").path
    static let image = Fixture.url("models/images/image-0.png").path

    /// Beside the test bundle.
    static func url() throws -> URL {
        let folders = [
            Bundle.main.bundleURL, URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent(),
        ]
        let found = folders.map { $0.appending(path: "fastvlm") }
            .first { FileManager.default.isExecutableFile(atPath: $0.path) }
        return try #require(found)
    }

    /// Runs the program to its end.
    /// - Parameters:
    ///   - executable: another one, which runs it
    ///   - environment: variables beside those of this process.
    static func run(
        _ arguments: [String], input: Data = Data(), environment: [String: String] = [:],
        executable: URL? = nil
    ) throws -> Outcome {
        try finish(executable ?? url(), arguments, input: input, environment: environment)
    }

    private static func finish(
        _ program: URL, _ arguments: [String], input: Data, environment: [String: String],
        in workingFolder: URL? = nil
    ) throws -> Outcome {
        try inFolder { folder in
            let process = Process()
            process.executableURL = program
            process.currentDirectoryURL = workingFolder
            process.arguments = arguments
            process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
            // Files instead of pipes: nothing can fill up and block.
            let files = ["in", "out", "err"].map { folder.appending(path: $0) }
            try input.write(to: files[0])
            for file in files[1...] { try Data().write(to: file) }
            process.standardInput = try FileHandle(forReadingFrom: files[0])
            process.standardOutput = try FileHandle(forWritingTo: files[1])
            process.standardError = try FileHandle(forWritingTo: files[2])
            try process.run()
            process.waitUntilExit()
            return Outcome(
                status: process.terminationStatus,
                signal: process.terminationReason == .uncaughtSignal ? process.terminationStatus : nil,
                output: try Data(contentsOf: files[1]),
                errors: String(decoding: try Data(contentsOf: files[2]), as: UTF8.self))
        }
    }

    /// Runs a line of shell in which `$fastvlm` is the program, to its end.
    static func shell(
        _ script: String, environment: [String: String] = [:], in folder: URL? = nil
    ) throws -> Outcome {
        try finish(
            URL(filePath: "/bin/bash"), ["-c", script], input: Data(),
            environment: environment.merging(["fastvlm": url().path, "image": image, "model": model]) { $1 },
            in: folder)
    }

    /// A running program whose streams go nowhere.
    static func start(_ arguments: [String], environment: [String: String] = [:]) throws -> Process {
        let process = Process()
        process.executableURL = try url()
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        return process
    }

    /// A folder that lives as long as `body` runs.
    static func inFolder<Result>(_ body: (URL) throws -> Result) throws -> Result {
        let folder = FileManager.default.temporaryDirectory.appending(path: "fastvlm-test-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        return try body(folder)
    }
}

import ArgumentParser
import CommandInput
import FastVLM
import FastVLMEmbedded
import Foundation

struct Inspect: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what a checkpoint folder holds, and whether its weights would load.",
        discussion: "Reads headers and configuration only, no weights and no tokenizer.")

    @Argument(
        help: "A checkpoint folder, or a model of the hub's cache (default: the embedded model).",
        completion: .directory)
    var directory: String?

    @Option(
        help: ArgumentHelp("Folder of the vision tower that the checkpoint leaves out.", valueName: "folder"),
        completion: .directory)
    var tower: String?

    @Flag(help: "One JSON object on stdout.")
    var json = false

    func validate() throws {
        if tower != nil, directory == nil { throw ValidationError("--tower needs a checkpoint folder.") }
    }

    func run() async throws {
        let (directory, tower, json) = (directory, tower, json)
        try await running {
            try await ModelName.fetchIfMissing(directory)
            let source = try directory.map { try ModelName.source($0, tower: tower) } ?? .embedded
            let report = try CheckpointReport(contentsOf: source)
            if json {
                try Terminal.json(report, pretty: true)
            } else {
                try Terminal.answer("\(report)", terminator: "\n")
            }
        }
    }
}

struct Info: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show processor features, the chosen instruction set, threads and memory.")

    @Option(
        name: .shortAndLong, parsing: .unconditional, help: "Worker threads (default: see `fastvlm info`).")
    var threads: Int?

    @Flag(help: "One JSON object on stdout.")
    var json = false

    func run() async throws {
        let (threads, json) = (threads, json)
        try await running {
            let information = try SystemInformation(threads: threads)
            if json { return try Terminal.json(information, pretty: true) }
            let memory = String(format: "%.1f GiB", Double(information.physicalMemory) / Double(1 << 30))
            try Terminal.answer(
                """
                processor         \(information.processor)
                instruction set   \(information.instructionSet) \
                (available: \(information.availableInstructionSets.joined(separator: ", ")))
                threads           \(information.threads): \(information.processorAllowance)
                memory            \(memory)
                """, terminator: "\n")
        }
    }
}

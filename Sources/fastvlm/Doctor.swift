import ArgumentParser
import Checkpoints
import CommandInput
import FastVLM
import Foundation
import ModelHub
import Tokenization

struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List everything that is wrong with a checkpoint folder.",
        discussion: """
            Looks at every file by itself (unfinished downloads, links that lead nowhere, web pages and pointers in place of \
            files, damaged headers, invalid JSON), then at configuration, weights and tokenizer together. Files of the hub's \
            cache are compared with their hashes. Exit status 69 when something is wrong.
            """)

    @Argument(help: "A checkpoint folder, or a model of the hub's cache.", completion: .directory)
    var directory: String

    @Option(
        help: ArgumentHelp(
            "Folder of the vision tower that the checkpoint leaves out, which is looked at as well.",
            valueName: "folder"),
        completion: .directory)
    var tower: String?

    @Flag(help: "Do not read the weights to compare their hashes.")
    var noHashes = false

    @Flag(help: "One JSON object on stdout.")
    var json = false

    private struct Report: Encodable {
        var directory: String
        var isHealthy = true
        var faults: [String]
        var notes: [String]
        var comparedFiles = 0

        init(_ examination: CheckpointExamination, named url: URL) {
            directory = examination.directory?.path ?? url.path
            (faults, notes) = (examination.faults, examination.notes)
            isHealthy = faults.isEmpty
        }

        mutating func add(_ fault: String) {
            if !faults.contains(fault) { faults.append(fault) }
            isHealthy = false
        }
    }

    func run() async throws {
        let (directory, tower, comparesHashes, json) = (directory, tower, !noHashes, json)
        try await running {
            let report = try await Self.examine(directory, tower: tower, comparesHashes: comparesHashes)
            if json {
                try Terminal.json(report, pretty: true)
            } else {
                var lines = [report.directory]
                lines += report.faults.map { "  wrong  \($0)" }
                lines += report.notes.map { "  note   \($0)" }
                if report.comparedFiles > 0 {
                    lines.append("  \(report.comparedFiles) files compared with their hashes")
                }
                lines.append(report.isHealthy ? "nothing is wrong" : "\(report.faults.count) wrong")
                try Terminal.answer(lines.joined(separator: "\n"), terminator: "\n")
            }
            if !report.isHealthy { throw ExitCode(ExitStatus.model.rawValue) }
        }
    }

    private static func examine(
        _ name: String, tower: String?, comparesHashes: Bool
    ) async throws -> Report {
        let source = try ModelName.source(name, tower: tower)
        let (url, towerURL) = (try source.directory(), try source.visionTower())
        let examination = CheckpointExamination(url, tower: towerURL)
        var report = Report(examination, named: url)
        guard let folder = examination.directory else { return report }
        do {
            let tokenizer = try Tokenizer(directory: folder)
            report.notes += tokenizer.remarks.map { "\($0)" }
            if let checkpoint = try? Checkpoint(directory: folder, tower: towerURL) {
                try checkpoint.check(tokens: tokenizer.textVocabularyCount)
            }
        } catch {
            report.add("\(error)")
        }
        guard comparesHashes else { return report }
        let (faults, compared) = try await ModelHub.Cancellation.onThread { cancellation in
            let line = TransferLine("comparing hashes", enabled: true)
            defer { line.clear() }
            return try HubCache.verify(in: folder.path, cancellation) { line.show($0) }
        }
        for fault in faults { report.add(fault) }
        report.comparedFiles = compared
        return report
    }
}
